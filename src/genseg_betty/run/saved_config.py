"""The config of a Run: as it is kept in config.yaml, read back, and held against that of a training that goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.config.keys import find_role
from genseg_betty.errors import UserError
from genseg_betty.run.migrations import migrate_config
from genseg_betty.run.plain_yaml import read_plain_yaml

ABSENT = "absent"
"""Stands for the value of a key that one of two configs lacks."""


def resolve_config(config: Mapping[str, Any] | DictConfig) -> DictConfig:
    """The config with all interpolations filled in, exactly as it will read back from config.yaml."""
    tree = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    text = OmegaConf.to_yaml(tree, resolve=True)
    return DictConfig(OmegaConf.create(text))


def read_config(path: Path) -> DictConfig:
    """The config of the Run in `path`. Raises UserError if there is none or it cannot be read."""
    file = path / "config.yaml"
    if not file.is_file():
        raise UserError(f"there is no Run in {path}: expected {file}. Name a run directory, as given by run_dir=…")
    try:
        config = OmegaConf.create(read_plain_yaml(file))
    except Exception as error:  # the YAML library raises many kinds
        raise UserError(f"{file} cannot be read: {error}. Put back a copy of it.") from error
    if not isinstance(config, DictConfig) or not config:
        raise UserError(f"{file} holds no config: expected a mapping of keys to values. Put back a copy of it.")
    return migrate_config(config)


def find_differences(old: DictConfig, new: DictConfig, tested: bool = False) -> list[str]:
    """One line for every key that keeps `new` from continuing a Run of `old`: the key and both values.

    Args:
        tested: the Run has scores of its test sets already.
    """
    before = _flatten_recipe(_flatten_config(old), new.get("recipe"))
    after = _flatten_recipe(_flatten_config(new), old.get("recipe"))
    lines = []
    for key in sorted(before.keys() | after.keys()):
        was = before.get(key, ABSENT)
        now = after.get(key, ABSENT)
        if _is_same(was, now) or _may_change(key, was, now, tested):
            continue
        lines.append(f"{key}: {was} in the Run, {now} now")
    return lines


def _flatten_recipe(flat: dict[str, Any], other: Any) -> dict[str, Any]:
    """The keys of another recipe than the `other` config has are told by its name, where both have one."""
    recipe = flat.get("recipe")
    if recipe is None or other is None or recipe == other:
        return flat
    kept = {key: value for key, value in flat.items() if not key.startswith("augment.")}
    return {**kept, "augment": recipe}


def _is_same(was: Any, now: Any) -> bool:
    """Whether two values mean the same: equal ones, and two that are both not set."""
    return was == now or (_is_unset(was) and _is_unset(now))


def _may_change(key: str, was: Any, now: Any, tested: bool) -> bool:
    """Whether a Run may be continued with another value of a dotted key."""
    on_resume = find_role(key).on_resume
    if on_resume == "grows":
        are_numbers = isinstance(was, int) and isinstance(now, int)
        return are_numbers and now > was
    if on_resume == "until_tested":
        return not tested
    return on_resume == "free"


def _is_unset(value: Any) -> bool:
    """A key that an older version did not know says what it says when it is null, false or empty."""
    return value is None or value is False or value in (ABSENT, [], {})


def _flatten_config(config: DictConfig) -> dict[str, Any]:
    """Dotted key -> value; a list is one value, and so is an empty section."""
    flat: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if not isinstance(value, dict) or not value:
            flat[prefix] = value
            return
        for key, item in value.items():
            visit(f"{prefix}.{key}" if prefix else str(key), item)

    visit("", OmegaConf.to_container(config, resolve=True))
    return flat
