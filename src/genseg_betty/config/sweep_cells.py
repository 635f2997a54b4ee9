"""The cells of a sweep: every combination of the values that its overrides give."""

import itertools
import math
from collections.abc import Sequence

from hydra.core.override_parser.types import Glob, Override

from genseg_betty.config.overrides import Members
from genseg_betty.config.wording import show

MOST_CELLS = 10_000


def expand_cells(overrides: Sequence[Override], members: Members, problems: list[str]) -> list[list[str]]:
    """Every combination of the values given, as overrides of one training each; faults go to `problems`."""
    axes = []
    for override in overrides:
        if override.is_sweep_override() and not _is_listed(override):
            line, key = show(override.input_line), override.get_key_element()
            problems.append(f"{line}: expected values to try one by one, such as {key}=1,2,3")
            continue
        try:
            axes.append(_list_axis(override, members))
        except (ValueError, ArithmeticError) as error:  # such as a range in steps of 0
            problems.append(f"{show(override.input_line)}: {error}")
            return []
    if math.prod(len(axis) for axis in axes) > MOST_CELLS:
        problems.append(f"the sweep has more than {MOST_CELLS} cells; give fewer values")
        return []
    return [list(cell) for cell in itertools.product(*axes)]


def write_for_hydra(override: Override, members: Members) -> str:
    """The override as Hydra's own composition takes it, whether the key is there or not."""
    key = override.key_or_group
    if override.is_delete():
        return f"~{key}"
    sign = "" if key in members else "++"
    return f"{sign}{key}={override.get_value_string()}"


def _is_listed(override: Override) -> bool:
    """Whether the values of a sweep can be counted: members of a group, or single values."""
    return isinstance(override.value(), Glob) or override.is_discrete_sweep()


def _list_axis(override: Override, members: Members) -> list[str]:
    """The overrides that one override of a sweep stands for; itself where it has one value."""
    key = override.get_key_element()
    value = override.value()
    if isinstance(value, Glob):
        names = list(members.get(override.key_or_group, ()))
        return [f"{key}={name}" for name in value.filter(names)]
    if override.is_discrete_sweep():
        texts = itertools.islice(override.sweep_string_iterator(), MOST_CELLS + 1)
        return [f"{key}={text}" for text in texts]
    return [str(override.input_line)]
