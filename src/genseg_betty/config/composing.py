"""What Hydra makes of the chosen group members, and plain values of what it has made.

Hydra is imported where something is composed: what there is to choose from, a shell's completion asks at every key.
"""

import copy
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genseg_betty.config.encoder_weights import choose_weights, name_encoder
from genseg_betty.config.folders import conf_dir, group_names
from genseg_betty.config.wording import spell_out
from genseg_betty.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

MOST_LOST = 20  # interpolations that lead nowhere, before the check ends

Composed = dict[tuple[Any, ...], tuple["DictConfig", dict[str, str | None]]]
"""What Hydra has made of chosen members, for callers that compose many configs at once."""


def compose_once(
    groups: Mapping[str, str], folder: Path | None, composed: Composed
) -> tuple["DictConfig", dict[str, str | None]]:
    """`compose_groups` of what is not in `composed` yet: Hydra takes a tenth of a second."""
    key = (*sorted(groups.items()), folder)
    if key not in composed:
        composed[key] = compose_groups(groups, folder)
    return copy.deepcopy(composed[key])


def compose_groups(groups: Mapping[str, str], folder: Path | None) -> tuple["DictConfig", dict[str, str | None]]:
    """Hydra's composition of the chosen group members, and the member of every group in the end."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    OmegaConf.register_new_resolver("encoder_of", name_encoder, replace=True)
    OmegaConf.register_new_resolver("weights_of", choose_weights, replace=True)
    lines = [f"{group}={member}" for group, member in groups.items()]
    if folder:
        address = f"file://{folder}".replace("'", "\\'")
        lines.append(f"hydra.searchpath=['{address}']")
    try:
        with _hydra_of_our_own():
            tree = hydra.compose("config", lines, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError, RecursionError) as error:
        reason = _tell_of_yaml(error)
        raise ConfigError([f"the YAML files cannot be composed: {reason}"]) from error
    choices = {group: tree.hydra.runtime.choices.get(group) for group in group_names()}
    OmegaConf.set_struct(tree, False)
    del tree["hydra"]
    for group, choice in choices.items():  # a copied file keeps the name that its first owner gave it
        if choice and "name" in (tree.get(group) or {}):
            tree[group].name = choice
    return tree, choices


def _tell_of_yaml(error: Exception) -> str:
    """What is wrong, and of a file that is no YAML the line."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error)
    reason = getattr(error, "problem", error)
    return f"{mark.name}, line {mark.line + 1}, is no YAML: {reason}"


@contextmanager
def _hydra_of_our_own() -> Iterator[None]:
    """Hydra on conf/. A sweep, or the user's own program, may have called us from within theirs: it comes back."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.version import VersionBase

    theirs = GlobalHydra.instance().hydra
    version_base = VersionBase.instance().version_base
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = theirs
        VersionBase.instance().version_base = version_base


def default_choices() -> dict[str, str | None]:
    """The member of every group when nothing is said."""
    from omegaconf import OmegaConf

    entries = OmegaConf.to_container(OmegaConf.load(conf_dir() / "config.yaml").defaults)
    assert isinstance(entries, list)
    choices: dict[str, str | None] = {}
    for entry in entries:
        if isinstance(entry, dict):
            choices.update(entry)
    return choices


def resolve_values(tree: "DictConfig", problems: list[str]) -> dict[str, Any]:
    """Plain values. An interpolation that leads nowhere is a problem, and its key is then missing."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from genseg_betty.config.overrides import drop_key

    for _ in range(MOST_LOST):
        try:
            return OmegaConf.to_container(tree, resolve=True)  # type: ignore[return-value]
        except OmegaConfBaseException as error:
            key = error.full_key or ""
            reason = _tell_of_interpolation(str(error))
            problems.append(f"{key}: an interpolation cannot be resolved: {reason}")
            if not drop_key(tree, key):
                break
    raise ConfigError([spell_out(problem) for problem in problems])


def _tell_of_interpolation(message: str) -> str:
    """OmegaConf's reason, and how a variable of the environment is named where one was meant."""
    line = message.partition("\n")[0]
    reason = line.removeprefix("KeyError raised while resolving interpolation: ").strip('"')
    lost = re.fullmatch(r"Interpolation key '(\w+)' not found", reason)
    name = lost[1] if lost else None
    if name is None or name not in os.environ:
        return reason
    return f"{reason}; did you mean ${{oc.env:{name}}}, of the environment?"
