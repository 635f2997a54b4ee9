"""Experiments that are sweeps: what their file says to sweep over, and how their cells are named.

`hydra.sweeper.params` of the file has keys and their values as on the command line. Cells that train the same have the
same name, whatever experiment they belong to: what it sets counts, not which one it was.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from genseg_betty.config.composing import default_choices
from genseg_betty.config.folders import find_member_file
from genseg_betty.config.naming import default_run_dir
from genseg_betty.config.origins import flatten_raw
from genseg_betty.config.overrides import OPTIONAL
from genseg_betty.config.preset_methods import take_members
from genseg_betty.errors import ConfigError

PARAMS = "hydra.sweeper.params"
SECOND = "second_backbone"
Choices = Mapping[str, str | None]
Compose = Callable[[Mapping[str, str]], tuple[DictConfig, dict[str, str | None]]]
"""Chosen members -> the tree that they compose, and the member of every group."""


def find_experiment(overrides: Sequence[Override]) -> str | None:
    """The experiment that the overrides choose."""
    chosen = [override.value() for override in overrides if override.key_or_group == "experiment"]
    return str(chosen[-1]) if chosen and chosen[-1] is not None else None


def read_params(experiment: str | None, folder: Path | None) -> dict[str, Any]:
    """What an experiment sweeps over: key -> values; {} where it is one training.

    Args:
        folder: the user's own YAML files, which go before ours.

    Raises:
        ConfigError: the file is no YAML, or its sweep is no mapping of keys to values.
    """
    file = find_member_file("experiment", experiment, folder)
    if file is None:
        return {}
    try:
        params = OmegaConf.select(OmegaConf.load(file), PARAMS)
    except (OmegaConfBaseException, YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file} cannot be read: {error}"]) from error
    if params is None:
        return {}
    if not OmegaConf.is_dict(params):
        raise ConfigError([f"{file}: {PARAMS} is {params}; expected keys with their values, such as seed: 0,1,2"])
    plain: Any = OmegaConf.to_container(params)
    return {str(key).lstrip("+"): value for key, value in plain.items()}


def read_swept_lines(experiment: str | None, folder: Path | None, given: Collection[str]) -> list[str]:
    """The overrides of an experiment's sweep, without those keys that are `given` otherwise. Raises ConfigError."""
    params = read_params(experiment, folder)
    return [f"{key}={value}" for key, value in params.items() if key not in given]


@dataclass(frozen=True)
class Naming:
    """What the name of a Run is made of.

    Args:
        base: the tree as the members of all groups compose it.
        choices: these members.
        overridden: the dotted keys that differ from it.
    """

    base: DictConfig
    choices: Choices
    overridden: set[str]

    def name_run(
        self, config: dict[str, Any], tree: DictConfig, is_cell: bool, compose: Compose, preset: Choices
    ) -> str:
        """The default directory of a Run.

        Args:
            tree: the composed tree with the user's values, from which `config` was made.
            is_cell: whether it is a cell of an experiment that is a sweep.
            preset: the members that came with the method.
        """
        naming = self._leave_out_experiment(tree, compose) if is_cell or self.choices.get("scale") else self
        defaults = {**default_choices(), **preset}
        return default_run_dir(config, naming.base, naming.overridden, naming.choices, defaults)

    def _leave_out_experiment(self, tree: DictConfig, compose: Compose) -> "Naming":
        """The same for a cell of an experiment: what that sets is named as if the user had set it."""
        kept = {group: member for group, member in self.choices.items() if group not in OPTIONAL}
        plain, _ = compose({group: member for group, member in kept.items() if member is not None})
        take_members(plain.method)
        if SECOND in self.base:
            plain[SECOND] = self.base[SECOND]
        leaves, usual = flatten_raw(tree), flatten_raw(plain)
        changed = {key for key in leaves.keys() | usual.keys() if leaves.get(key) != usual.get(key)}
        return Naming(plain, kept, changed | self.overridden)
