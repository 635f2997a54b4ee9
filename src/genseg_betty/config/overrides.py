"""The overrides of one training: which group members they choose, and which values they set.

`+dataset=isic` and `dataset=isic` are the same, and so are `+key=` and `key=`: whether a key exists is for
`checking.py` to say.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from genseg_betty.config.override_grammar import parse_lines
from genseg_betty.config.schema import REPLACED, TAGS
from genseg_betty.config.wording import join_choices, show

Members = Mapping[str, Sequence[str]]
OPTIONAL = ("experiment", "scale")  # groups of which no member need be chosen


@dataclass
class Overrides:
    """Parsed overrides: a member for each group named, and the values in their order.

    For a member that is unknown, `groups` has the nearest one, so that the rest can still be checked; groups
    for which nothing is near are in `unknown_groups`.
    """

    groups: dict[str, str] = field(default_factory=dict)
    values: list[Override] = field(default_factory=list)
    unknown_groups: set[str] = field(default_factory=set)


def parse_overrides(lines: Iterable[str], members: Members, problems: list[str]) -> Overrides:
    """Overrides of one training. Adds to `problems` what cannot be read, unknown members, and sweeps."""
    result = Overrides()
    for override in parse_lines(lines, problems):
        key = override.key_or_group
        line = show(override.input_line)
        if override.is_hydra_override():
            problems.append(f"{line}: Hydra's own settings count with -m alone; the directory of a Run is run_dir=…")
        elif override.is_sweep_override():
            one = "" if key in members else f"; a list is written {key}=[a,b], and text with commas {key}='a,b'"
            problems.append(f"{line}: several values; -m trains one Run for each{one}")
        elif key in members:
            _take_group(override, members[key], result, problems)
        else:
            result.values.append(override)
    return result


def prefix_dataset(line: str) -> str:
    """A key of a dataset with `dataset.` before it: `root=/data/x` -> `dataset.root=/data/x`."""
    key = line.lstrip("+~")
    if key.startswith("dataset."):
        return line
    sign = line[: len(line) - len(key)]
    return f"{sign}dataset.{key}"


def apply_overrides(tree: DictConfig, values: Iterable[Override], problems: list[str]) -> None:
    """Set the values in `tree`, in their order."""
    for override in values:
        try:
            _apply_one(tree, override, problems)
        except (OmegaConfBaseException, TypeError, ValueError, AssertionError, AttributeError) as error:
            reason = str(error).splitlines()[0] if str(error) else "not possible"
            problems.append(f"{show(override.input_line)}: {reason}")


def drop_key(tree: DictConfig, key: str) -> bool:
    """Delete a dotted key; False where there is none."""
    parent, _, last = key.rpartition(".")
    section: Any = tree
    if parent:
        section = OmegaConf.select(tree, parent, throw_on_resolution_failure=False)
    if not isinstance(section, DictConfig) or last not in section:
        return False
    with open_dict(section):
        del section[last]
    return True


def tell_unknown_member(group: str, member: Any, members: Sequence[str]) -> str:
    """The problem of a choice that a group does not offer, with the nearest one that it does."""
    shown = show(member)
    alike = find_nearest_member(shown, members)
    hint = "; choose"
    if group == "dataset" and "/" in shown:
        hint = f"; did you mean dataset=folder dataset.root={shown}? Choose"
    elif alike is not None:
        hint = f"; did you mean {alike}? Choose"
    offered = join_choices(members)
    return f"{group}={shown}: no such {group}{hint} {offered}"


def find_nearest_member(text: str, members: Sequence[str]) -> str | None:
    """The member that is most like the text, in capitals or not; None where nothing is near."""
    alike = difflib.get_close_matches(text.lower(), members, n=1)
    return alike[0] if alike else None


def _apply_one(tree: DictConfig, override: Override, problems: list[str]) -> None:
    key = override.key_or_group
    value: Any = override.value()
    if override.is_delete():
        _drop_as_asked(tree, override, problems)
        return
    replaces = False
    if isinstance(value, dict):
        replaces = key in REPLACED or not TAGS.isdisjoint(value)
    OmegaConf.update(tree, key, value, merge=not replaces, force_add=True)


def _drop_as_asked(tree: DictConfig, override: Override, problems: list[str]) -> None:
    """`~key` drops the key whatever it holds, `~key=value` only if it holds that value."""
    key = override.key_or_group
    asked = override.value()
    found = OmegaConf.select(tree, key, throw_on_resolution_failure=False)
    if asked is not None and found is not None and asked != found:
        line, held = show(override.input_line), show(found)
        problems.append(f"{line}: {key} is {held}; ~{key} drops it, {key}=… sets it")
    elif not drop_key(tree, key):
        problems.append(f"~{key}: there is no such key to drop")


def _take_group(override: Override, members: Sequence[str], result: Overrides, problems: list[str]) -> None:
    group = override.key_or_group
    member = override.value()
    if override.is_delete():
        line = show(override.input_line)
        problems.append(f"{line}: a group cannot be dropped; choose another member of {group}")
    elif group in OPTIONAL and member is None:
        result.groups.pop(group, None)
    elif isinstance(member, str | int | float) and str(member) in members:
        result.groups[group] = str(member)
    else:
        written = member is None or isinstance(member, list | dict)
        found = override.get_value_string() if written else member
        problems.append(tell_unknown_member(group, found, members))
        # The nearest member stands in for the unknown one, so that its keys can still be checked.
        alike = find_nearest_member(str(found), members)
        if alike is None:
            result.unknown_groups.add(group)
        else:
            result.groups[group] = alike
