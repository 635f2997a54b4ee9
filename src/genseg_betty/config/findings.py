"""What one pass over a config finds: its faults, its unknown keys, and what every known key may hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genseg_betty.config.nearest import suggest_key
from genseg_betty.config.wording import show


@dataclass
class Findings:
    """The findings of one pass, collected while the sections are walked through.

    Args:
        problems: one line for each fault.
        known: the dotted keys that exist, each with its kind.
        sections: the dotted names of the sections; that of the whole config is empty.
        unknown: the dotted keys that do not exist, each with its value.
        misfits: the dotted keys whose value is none of their kind, each with its line in `problems`.
    """

    problems: list[str]
    known: dict[str, Any] = field(default_factory=dict)
    sections: list[str] = field(default_factory=list)
    unknown: dict[str, Any] = field(default_factory=dict)
    misfits: dict[str, str] = field(default_factory=dict)

    def add_misfit(self, path: str, problem: str) -> None:
        """Add the problem of a key whose value is none of its kind."""
        self.misfits[path] = problem
        self.problems.append(problem)

    def add_unfit_value(self, path: str, value: Any, expected: str) -> None:
        """Add the problem of a value that is not what is expected."""
        self.add_misfit(path, f"{path}={show(value)}: {expected}")

    def has_misfit(self, path: str) -> bool:
        """Whether the value of a key, or a value below it, is none of its kind."""
        below = f"{path}."
        return any(misfit == path or misfit.startswith(below) for misfit in self.misfits)

    def forget_taken_over(self, sources: Mapping[str, Sequence[str]]) -> None:
        """Leave out the problems of keys that took over a value which is a problem where it stands."""
        for path, problem in self.misfits.items():
            origins = sources.get(path, ())
            if any(origin in self.misfits for origin in origins):
                self.problems.remove(problem)

    def report_unknown(self) -> None:
        """Add a problem for each unknown key, with the key that was most likely meant."""
        for path, value in self.unknown.items():
            hint = suggest_key(path, self.known, self.sections)
            self.problems.append(f"{path}={show(value)}: no such key{hint}")


def join_key(path: str, key: str) -> str:
    """The dotted name of a key in a section; the whole config's own name is empty."""
    return f"{path}.{key}" if path else key


def flatten_leaves(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The dotted keys of the innermost values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = join_key(path, str(key))
        if isinstance(value, Mapping) and value:
            flat |= flatten_leaves(value, inner)
        else:
            flat[inner] = value
    return flat
