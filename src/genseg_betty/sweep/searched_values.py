"""What a search proposes values from: choice(…), range(…) and interval(…) become distributions of Optuna."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from genseg_betty.config import compose
from genseg_betty.config.override_grammar import parse_lines
from genseg_betty.config.wording import show
from genseg_betty.data.inspect.counting import require_dataset_folders
from genseg_betty.errors import ConfigError, UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

RUN_DIR = "run_dir"
INNER = 0.381966
"""How far from the first to the last value one lies that is tried out: no common fraction."""
EXPECTED = (
    "expected values to search among: choice(a,b), range(1,9), int(interval(1,9)), interval(1e-4,1e-2) or "
    "tag(log,interval(1e-4,1e-2))"
)


def read_space(overrides: Sequence[str]) -> tuple[list[str], dict[str, "BaseDistribution"]]:
    """The overrides that hold for every trial, and what is searched: key -> distribution. Raises ConfigError."""
    problems: list[str] = []
    fixed: list[str] = []
    space: dict[str, BaseDistribution] = {}
    for override in parse_lines(overrides, problems):
        if override.key_or_group == RUN_DIR:
            problems.append(f"{show(override.input_line)}: every trial has a Run of its own; leave run_dir out")
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
            continue
        try:
            space[override.get_key_element().lstrip("+")] = _make_distribution(override)
        except (TypeError, ValueError) as error:
            problems.append(f"{show(override.input_line)}: {error}")
    if not space and not problems:
        problems.append(f"nothing to search; {EXPECTED} of at least one key")
    if problems:
        raise ConfigError(problems, "in the search, of which nothing was trained")
    return fixed, space


def _make_distribution(override: Override) -> "BaseDistribution":
    """Raises ValueError, TypeError for what cannot be searched."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = override.value()
    if isinstance(values, ChoiceSweep | RangeSweep):
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    if isinstance(values, IntervalSweep):
        assert values.start is not None
        assert values.end is not None
        is_log = "log" in values.tags
        if isinstance(values.start, int) and isinstance(values.end, int):
            return IntDistribution(values.start, values.end, log=is_log)
        return FloatDistribution(float(values.start), float(values.end), log=is_log)
    raise ValueError(EXPECTED)


def check_values(fixed: Sequence[str], space: Mapping[str, "BaseDistribution"], config_dir: Path | None) -> None:
    """Compose a training with the first, the last and an inner value of every key. Raises ConfigError, UserError."""
    problems: dict[str, None] = {}
    for place in range(3):
        values = {key: _list_examples(distribution)[place] for key, distribution in space.items()}
        try:
            lines = [f"{key}={value}" for key, value in values.items()]
            config = compose([*fixed, *lines], config_dir)
        except ConfigError as error:
            for problem in error.problems:
                key = problem.partition("=")[0]
                is_broken_number = isinstance(values.get(key), float) and "expected an integer" in problem
                hint = "; int(interval(1,9)) proposes whole numbers" if is_broken_number else ""
                problems[f"{problem}{hint}"] = None
        else:
            require_dataset_folders(config)
    if problems:
        raise ConfigError(list(problems), "in the search, of which nothing was trained")


def _list_examples(distribution: Any) -> Sequence[Any]:
    """The first value, the last and one between them, which of real numbers is no whole one."""
    choices = getattr(distribution, "choices", None)
    if choices:
        return choices[0], choices[-1], choices[len(choices) // 2]
    low, high = distribution.low, distribution.high
    inner = low + (high - low) * INNER
    return low, high, int(inner) if isinstance(low, int) else inner


def require_same_space(study: "Study", space: Mapping[str, "BaseDistribution"], folder: Path) -> None:
    """Raise UserError for a key whose values cannot be those of the trials before: their scores would say nothing."""
    from optuna.distributions import check_distribution_compatibility

    for trial in study.trials:
        for key in trial.distributions.keys() & space.keys():
            try:
                check_distribution_compatibility(trial.distributions[key], space[key])
            except ValueError as error:
                before = _describe_values(trial.distributions[key])
                raise UserError(
                    f"{key}: the study in {folder} searches it among {before}, not {_describe_values(space[key])}; "
                    "name another --out"
                ) from error


def _describe_values(distribution: Any) -> str:
    """ "strong, genseg", or "0.1 to 0.5"."""
    choices = getattr(distribution, "choices", None)
    return ", ".join(choices) if choices else f"{distribution.low} to {distribution.high}"
