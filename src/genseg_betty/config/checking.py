"""A composed config against `schema.py` and against the signatures of the code that it names.

Every fault is found in one pass. Components are bound to their signature, not called; a `_target_` that is not ours is
imported, so a YAML file names code that runs: take config files only from people whose code you would run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from genseg_betty.config.advice import propose
from genseg_betty.config.components import Component
from genseg_betty.config.dataset_rules import dataset_faults
from genseg_betty.config.generator_rules import generator_faults
from genseg_betty.config.kinds import Tag, convert
from genseg_betty.config.nearest import suggest_key
from genseg_betty.config.schema import Config
from genseg_betty.config.signatures import is_ours, read_signature
from genseg_betty.config.wording import describe, either, show

EXPECTED_ERRORS = (ImportError, AttributeError, ValueError)
RELATIONS: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "dataset": dataset_faults,
    "generator": generator_faults,
}


def check(
    tree: Mapping[str, Any],
    problems: list[str],
    sources: Mapping[str, Sequence[str]] | None = None,
    importing: bool = False,
) -> dict[str, Any]:
    """The whole resolved config, converted and with defaults filled in; faults are added to `problems`.

    Args:
        sources: the keys whose values a key takes over; what is wrong there is not told again.
        importing: import code that is not ours, in place of reading its source.
    """
    checker = _Checker(problems, importing)
    result = checker.section(tree, Config, "")
    checker.forget_taken_over(sources or {})
    checker.report_unknown()
    checker.relate(result)
    return result


def names_foreign_code(tree: Mapping[str, Any]) -> bool:
    """Whether a component's `_target_` is code that is not ours."""
    sections = [value for value in tree.values() if isinstance(value, Mapping)]
    target = tree.get("_target_")
    return (isinstance(target, str) and not is_ours(target)) or any(map(names_foreign_code, sections))


def check_dataset_section(tree: Any, problems: list[str]) -> dict[str, Any]:
    """The same for the `dataset` section alone."""
    checker = _Checker(problems)
    result = checker.value(tree, get_type_hints(Config, include_extras=True)["dataset"], "dataset")
    checker.report_unknown()
    checker.relate({"dataset": result})
    return result


@dataclass
class _Argument:
    kind: Any
    required: bool


class _Checker:
    """One pass over a config: collects faults, unknown keys, and what every known key may hold."""

    def __init__(self, problems: list[str], importing: bool = False) -> None:
        self.problems = problems
        self.importing = importing
        self.known: dict[str, Any] = {}
        self.sections: list[str] = []
        self.unknown: dict[str, Any] = {}
        self.misfits: dict[str, str] = {}  # dotted keys whose value is none of their kind, each with its problem

    def value(self, value: Any, kind: Any, path: str) -> Any:
        if get_origin(kind) is Annotated and isinstance(get_args(kind)[1], Tag):
            return self._tagged(value, get_args(get_args(kind)[0]), get_args(kind)[1], path)
        sections = [arm for arm in (kind, *get_args(kind)) if isinstance(arm, type) and is_dataclass(arm)]
        if sections and not (value is None and NoneType in get_args(kind)):
            return self.section(value, sections[0], path)
        self.known[path] = kind
        try:
            return convert(value, kind)
        except ValueError as error:
            reason = f"; {error}" if str(error) else ""
            expected = f"expected {describe(kind)}{reason}{propose(value, kind)}"
            self._misfit(path, f"{path}={show(value)}: {expected}")
            return value

    def section(self, values: Any, schema: Any, path: str) -> dict[str, Any]:
        if not isinstance(values, Mapping):
            keys = ", ".join(entry.name for entry in fields(schema))
            self._misfit(path, f"{path}={show(values)}: expected a section {{key: value, …}} with keys out of {keys}")
            return {}
        self.sections.append(path)
        kinds = get_type_hints(schema, include_extras=True)
        entries = {entry.name: entry for entry in fields(schema)}
        found = {
            key: self.value(value, kinds[key], _join(path, key)) for key, value in values.items() if key in entries
        }
        rest = {key: value for key, value in values.items() if key not in entries}
        if "_target_" in entries and "_target_" not in found and entries["_target_"].default is not MISSING:
            found["_target_"] = entries["_target_"].default
        if not issubclass(schema, Component):
            self.unknown |= _leaves(rest, path)
        elif "_target_" in found and _join(path, "_target_") not in self.misfits:
            found |= self._arguments(rest, found["_target_"], schema, path)
        return found | self._defaults(entries, kinds, found, path)

    def forget_taken_over(self, sources: Mapping[str, Sequence[str]]) -> None:
        """Leave out the problems of keys that took over a value which is a problem where it stands."""
        for path, problem in self.misfits.items():
            if any(source in self.misfits for source in sources.get(path, ())):
                self.problems.remove(problem)

    def report_unknown(self) -> None:
        for path, value in self.unknown.items():
            self.problems.append(f"{path}={show(value)}: no such key{suggest_key(path, self.known, self.sections)}")

    def relate(self, config: Mapping[str, Any]) -> None:
        """Compare the keys of a section with each other, as far as their values are of their kind."""
        for section, find_faults in RELATIONS.items():
            values = config.get(section)
            if isinstance(values, Mapping):
                wrong = {key: f"{section}.{key}" for key in values if self._misfits(f"{section}.{key}")}
                faults = find_faults({key: value for key, value in values.items() if key not in wrong})
                self.problems += [fault for fault in faults if not any(key in fault for key in wrong.values())]

    def _misfit(self, path: str, problem: str) -> None:
        self.misfits[path] = problem
        self.problems.append(problem)

    def _misfits(self, path: str) -> bool:
        return any(misfit == path or misfit.startswith(f"{path}.") for misfit in self.misfits)

    def _defaults(
        self, entries: dict[str, Field[Any]], kinds: dict[str, Any], found: dict[str, Any], path: str
    ) -> dict[str, Any]:
        filled = {}
        for name, entry in entries.items():
            if name in found:
                continue
            self.known[_join(path, name)] = kinds[name]
            if entry.default is not MISSING:
                filled[name] = entry.default
            elif entry.default_factory is not MISSING:
                default = entry.default_factory()
                filled[name] = vars(default) if is_dataclass(default) else default
            else:
                self.problems.append(f"{_join(path, name)}: missing; expected {describe(kinds[name])}")
        return {key: list(value) if isinstance(value, tuple) else value for key, value in filled.items()}

    def _tagged(self, values: Any, arms: tuple[Any, ...], mark: Tag, path: str) -> Any:
        """A section whose schema is picked by the value of one of its keys."""
        tag = mark.key
        schemas = {choice: arm for arm in arms for choice in get_args(get_type_hints(arm)[tag])}
        if not isinstance(values, Mapping):
            choices = either(list(schemas))
            self._misfit(path, f"{path}={show(values)}: expected a section {{{tag}: …, …}}; {tag} is {choices}")
            return values
        chosen = values.get(tag, mark.default)
        if not isinstance(chosen, str) or chosen not in schemas:
            problem = "missing" if tag not in values else f"found {show(chosen)}"
            self._misfit(path, f"{path}.{tag}: {problem}; expected {either(list(schemas))}")
            return {}
        result = self.section(values, schemas[chosen], path)
        foreign = {key for arm in arms for key in _keys(arm)} & values.keys() - result.keys()
        for key in foreign:
            for unknown in _leaves({key: values[key]}, path):
                del self.unknown[unknown]
        if foreign:
            owners = either([choice for choice, arm in schemas.items() if foreign & _keys(arm)])
            self.problems.append(_tell_foreign({key: values[key] for key in sorted(foreign)}, path, chosen, owners))
        return result

    def _arguments(self, values: dict[str, Any], target: str, schema: type[Component], path: str) -> dict[str, Any]:
        """The keys of a component that are arguments of its target."""
        signature = self._signature(target, schema, path)
        if signature is None:
            return values
        accepted, takes_all = signature
        found = {}
        for key, value in values.items():
            if key in accepted:
                kind = schema.arguments.get(key, accepted[key].kind)
                found[key] = self.value(value, kind, _join(path, key))
            elif takes_all:
                found[key] = self.value(value, Any, _join(path, key))
            else:
                self.unknown |= _leaves({key: value}, path)
        for key, argument in accepted.items():
            self.known.setdefault(_join(path, key), schema.arguments.get(key, argument.kind))
            if argument.required and key not in values:
                self.problems.append(f"{_join(path, key)}: missing; {target} needs {describe(argument.kind)}")
        return found

    def _signature(self, target: str, schema: type[Component], path: str) -> tuple[dict[str, _Argument], bool] | None:
        """What the target takes besides what the program supplies, and whether it takes any key."""
        try:
            parameters, hints = read_signature(target, self.importing)
        except (Exception, SystemExit) as error:  # importing a user's file can raise whatever that file raises
            kind = "" if isinstance(error, EXPECTED_ERRORS) else f"{type(error).__name__}: "
            self.problems.append(
                f"{path}._target_={show(target)}: cannot be used ({kind}{show(str(error))}); expected module.name of a "
                "function or class that Python finds (an installed package, or a folder in PYTHONPATH)"
            )
            return None
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        named = {p.name: p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
        lacking = [name for name in schema.supplied if name not in named and not takes_all]
        if lacking:
            names = ", ".join(lacking)
            self.problems.append(f"{path}._target_={show(target)}: must take the arguments {names} as well")
            return None
        arguments = {
            name: _Argument(hints.get(name, Any), parameter.default is parameter.empty)
            for name, parameter in named.items()
            if name not in (*schema.supplied, *schema.offered)
        }
        return arguments, takes_all


def _keys(schema: Any) -> set[str]:
    return {entry.name for entry in fields(schema)}


def _tell_foreign(values: Mapping[str, Any], path: str, chosen: str, owners: str) -> str:
    """The problem of keys that other members of a tagged union have."""
    names = [_join(path, key) for key in values]
    if len(names) == 1:
        found = f"{names[0]}={show(*values.values())}: {chosen} has no such key, it belongs to {owners}; leave it out"
    else:
        found = f"{', '.join(names)}: {chosen} has no such keys, they belong to {owners}; leave them out"
    return f"{found}, or drop what the YAML says with {' '.join(f'~{name}' for name in names)}"


def _leaves(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Dotted paths of the innermost values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = _join(path, str(key))
        flat |= _leaves(value, inner) if isinstance(value, Mapping) and value else {inner: value}
    return flat


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
