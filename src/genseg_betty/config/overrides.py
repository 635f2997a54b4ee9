"""What the user types after the command: `dataset=isic`, `trainer.iterations=500`, `seed=0,1,2`.

The grammar is Hydra's, parsed by Hydra, with two differences. `+dataset=isic` and `dataset=isic` are the
same, and so are `+key=` and `key=`: whether a key exists is for `checking.py` to say. And a plain value that
Hydra's grammar has no room for (`~/scans`, `/data/set (1)`) is taken as it stands.
"""

import difflib
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from genseg_betty.config.plain import require_shallow
from genseg_betty.config.schema import REPLACED, TAGS
from genseg_betty.config.wording import either, show

Members = Mapping[str, Sequence[str]]
STRUCTURAL = ("[", "{", "'", '"')
KEY = re.compile(r"(\+{0,2}|~)[^\W\d]\w*([./]\w+)*")
OPTIONAL = ("experiment",)  # groups of which no member need be chosen
LONGEST_KEY = 200
LONGEST_VALUE = 100_000
MOST_CELLS = 10_000  # of a sweep


@dataclass
class Overrides:
    """Parsed overrides: a member for each group named, and the values in their order.

    For a member that is unknown, `groups` has the nearest one, so that the rest can still be checked; groups
    for which nothing is near are in `unknown_groups`.
    """

    groups: dict[str, str] = field(default_factory=dict)
    values: list[Override] = field(default_factory=list)
    unknown_groups: set[str] = field(default_factory=set)


def parse(lines: Iterable[str], members: Members, problems: list[str]) -> Overrides:
    """Overrides of one training. Adds to `problems` what cannot be read, unknown members, and sweeps."""
    result = Overrides()
    for override in parse_lines(lines, problems):
        key = override.key_or_group
        if override.is_hydra_override():
            problems.append(
                f"{show(override.input_line)}: Hydra's own settings count with -m alone; the directory of a Run is "
                "run_dir=…"
            )
        elif override.is_sweep_override():
            one = "" if key in members else f"; a list is written {key}=[a,b], and text with commas {key}='a,b'"
            problems.append(f"{show(override.input_line)}: several values; -m trains one Run for each{one}")
        elif key in members:
            _take_group(override, members[key], result, problems)
        else:
            result.values.append(override)
    return result


def parse_lines(lines: Iterable[str], problems: list[str]) -> list[Override]:
    """Every line parsed; those that cannot be are problems."""
    parsed = [_parse_line(line, problems) for line in lines]
    return [override for override in parsed if override is not None]


def expand(overrides: Sequence[Override], members: Members, problems: list[str]) -> list[list[str]]:
    """The cells of a sweep: every combination of the values given, as overrides of one training each."""
    axes = []
    for override in overrides:
        key = override.get_key_element()
        value = override.value()
        if isinstance(value, Glob):
            names = list(members.get(override.key_or_group, ()))
            axes.append([f"{key}={name}" for name in value.filter(names)])
        elif override.is_discrete_sweep():
            try:
                texts = list(itertools.islice(override.sweep_string_iterator(), MOST_CELLS + 1))
            except (ValueError, ArithmeticError) as error:  # such as a range in steps of 0
                problems.append(f"{show(override.input_line)}: {error}")
                return []
            axes.append([f"{key}={text}" for text in texts])
        elif override.is_sweep_override():
            problems.append(f"{show(override.input_line)}: expected values to try one by one, such as {key}=1,2,3")
        else:
            axes.append([str(override.input_line)])
    if math.prod(map(len, axes)) > MOST_CELLS:
        problems.append(f"the sweep has more than {MOST_CELLS} cells; give fewer values")
        return []
    return [list(cell) for cell in itertools.product(*axes)]


def in_dataset(line: str) -> str:
    """A key of a dataset with `dataset.` before it: `root=/data/x` -> `dataset.root=/data/x`."""
    key = line.lstrip("+~")
    return line if key.startswith("dataset.") else f"{line[: len(line) - len(key)]}dataset.{key}"


def for_hydra(override: Override, members: Members) -> str:
    """The override as Hydra's own composition takes it, whether the key is there or not."""
    key = override.key_or_group
    if override.is_delete():
        return f"~{key}"
    return f"{'' if key in members else '++'}{key}={override.get_value_string()}"


def apply(tree: DictConfig, values: Iterable[Override], problems: list[str]) -> None:
    """Set the values in `tree`, in their order."""
    for override in values:
        key = override.key_or_group
        value: Any = override.value()
        replaces = isinstance(value, dict) and (key in REPLACED or not TAGS.isdisjoint(value))
        try:
            if override.is_delete():
                _drop_as_asked(tree, override, problems)
            else:
                OmegaConf.update(tree, key, value, merge=not replaces, force_add=True)
        except (OmegaConfBaseException, TypeError, ValueError, AssertionError, AttributeError) as error:
            reason = str(error).splitlines()[0] if str(error) else "not possible"
            problems.append(f"{show(override.input_line)}: {reason}")


def _drop_as_asked(tree: DictConfig, override: Override, problems: list[str]) -> None:
    """`~key` drops the key whatever it holds, `~key=value` only if it holds that value."""
    key, asked = override.key_or_group, override.value()
    found = OmegaConf.select(tree, key, throw_on_resolution_failure=False)
    if asked is not None and found is not None and asked != found:
        problems.append(f"{show(override.input_line)}: {key} is {show(found)}; ~{key} drops it, {key}=… sets it")
    elif not drop(tree, key):
        problems.append(f"~{key}: there is no such key to drop")


def quoted(text: str) -> str:
    """The text in quotes, as Hydra's grammar reads it back: backslashes count only before a quote."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + (f"\\{found[2]}" if found[2] else ""), text)
    return f"'{escaped}'"


def unknown_member(group: str, member: Any, members: Sequence[str]) -> str:
    """The problem of a choice that a group does not offer, with the nearest one that it does."""
    alike = _nearest_members(show(member), members)
    hint = f"; did you mean {alike[0]}? Choose" if alike else "; choose"
    if group == "dataset" and "/" in show(member):
        hint = f"; did you mean dataset=folder dataset.root={show(member)}? Choose"
    return f"{group}={show(member)}: no such {group}{hint} {either(members)}"


def _nearest_members(text: str, members: Sequence[str]) -> list[str]:
    """The member that is most like the text, in capitals or not; none where nothing is near."""
    return difflib.get_close_matches(text.lower(), members, n=1)


def _parse_line(line: str, problems: list[str]) -> Override | None:
    key, equals, value = line.partition("=")
    if len(key) > LONGEST_KEY or len(value) > LONGEST_VALUE:
        problems.append(f"{show(line)}: too long; a key has at most {LONGEST_KEY} characters, a value {LONGEST_VALUE}")
        return None
    parser = OverridesParser.create()
    attempts = [line]
    if equals and not value.startswith(STRUCTURAL):
        attempts.append(f"{key}={quoted(value)}")
    for attempt in attempts:
        try:
            override = parser.parse_override(attempt)
            require_shallow(override.value())
        except HydraException:
            continue
        except (RecursionError, ValueError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
            problems.append(f"{show(line)}: cannot be used; {reason}")
            return None
        if override.package is not None or not override.key_or_group:
            break
        return override
    problems.append(f"{show(line)}: cannot be read; {_advise_on_line(key, equals, value)}")
    return None


def _advise_on_line(key: str, equals: str, value: str) -> str:
    if not equals:
        return "expected key=value"
    if KEY.fullmatch(key) and value.startswith(STRUCTURAL):
        return "close every bracket and quote, and end no list with a comma; text is quoted: key='…'"
    if KEY.fullmatch(key):
        return "quote the value: key='…'"
    if KEY.fullmatch(key.strip()):
        return f"leave out the spaces: {show(key.strip())}={show(value.strip())}"
    return "expected key=value, the key made of letters, digits, _ and dots"


def _take_group(override: Override, members: Sequence[str], result: Overrides, problems: list[str]) -> None:
    group, member = override.key_or_group, override.value()
    if override.is_delete():
        problems.append(f"{show(override.input_line)}: a group cannot be dropped; choose another member of {group}")
    elif group in OPTIONAL and member is None:
        result.groups.pop(group, None)
    elif isinstance(member, str | int | float) and str(member) in members:
        result.groups[group] = str(member)
    else:
        found = override.get_value_string() if member is None or isinstance(member, list | dict) else member
        problems.append(unknown_member(group, found, members))
        alike = _nearest_members(str(found), members)
        result.groups.update((group, name) for name in alike)
        result.unknown_groups.update(() if alike else {group})


def drop(tree: DictConfig, key: str) -> bool:
    """Delete a dotted key; False where there is none."""
    parent, _, last = key.rpartition(".")
    section = OmegaConf.select(tree, parent, throw_on_resolution_failure=False) if parent else tree
    if not isinstance(section, DictConfig) or last not in section:
        return False
    with open_dict(section):
        del section[last]
    return True
