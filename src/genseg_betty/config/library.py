"""The YAML files that configs are composed from, ours and the user's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genseg_betty.config.composing import Composed, compose_once
from genseg_betty.config.folders import find_member_file

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass
class Library:
    """The YAML files that configs are composed from.

    Args:
        folder: the user's own files, laid out as conf/.
        members: of every group, those of the user's folder included.
        composed: what Hydra has made of chosen members so far.
    """

    folder: Path | None
    members: dict[str, list[str]]
    composed: Composed

    def compose_members(self, groups: Mapping[str, str]) -> tuple["DictConfig", dict[str, str | None]]:
        """The tree of the chosen members, and the member of every group in the end."""
        return compose_once(groups, self.folder, self.composed)

    def find_file(self, group: str, member: str | None) -> Path | None:
        """The YAML file of a member; the user's own goes before ours."""
        return find_member_file(group, member, self.folder)
