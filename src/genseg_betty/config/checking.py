"""A composed config against `schema.py` and against the signatures of the code that it names.

Every fault is found in one pass. Components are bound to their signature, not called; a `_target_` that is not ours is
imported, so a YAML file names code that runs: take config files only from people whose code you would run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from genseg_betty.config.advice import propose_value
from genseg_betty.config.components import ComponentConfig
from genseg_betty.config.findings import Findings, flatten_leaves, join_key
from genseg_betty.config.kinds import convert_value
from genseg_betty.config.marks import Tag
from genseg_betty.config.relations import compare_keys
from genseg_betty.config.schema import Config
from genseg_betty.config.signatures import is_ours
from genseg_betty.config.targets import UnusableTarget, read_target
from genseg_betty.config.wording import describe_kind, join_choices, show


def check_config(
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
    findings = Findings(problems)
    config = SectionChecker(findings, importing).check_section(tree, Config, "")
    findings.forget_taken_over(sources or {})
    findings.report_unknown()
    compare_keys(config, findings)
    return config


def check_dataset_section(tree: Any, problems: list[str]) -> dict[str, Any]:
    """The `dataset` section alone, checked as in `check_config`."""
    findings = Findings(problems)
    kind = get_type_hints(Config, include_extras=True)["dataset"]
    dataset = SectionChecker(findings).check_value(tree, kind, "dataset")
    findings.report_unknown()
    compare_keys({"dataset": dataset}, findings)
    return dataset


def names_foreign_code(tree: Mapping[str, Any]) -> bool:
    """Whether a component's `_target_` is code that is not ours."""
    target = tree.get("_target_")
    if isinstance(target, str) and not is_ours(target):
        return True
    sections = [value for value in tree.values() if isinstance(value, Mapping)]
    return any(names_foreign_code(section) for section in sections)


class SectionChecker:
    """Walks through the sections of a config, converts each value to its kind, and adds what is wrong to `findings`."""

    def __init__(self, findings: Findings, importing: bool = False) -> None:
        self.findings = findings
        self.importing = importing

    def check_value(self, value: Any, kind: Any, path: str) -> Any:
        """The converted value; one that does not fit stays as it is."""
        if get_origin(kind) is Annotated:
            core, mark, *_ = get_args(kind)
            if isinstance(mark, Tag):
                return self._check_tagged(value, get_args(core), mark, path)
        is_left_out = value is None and NoneType in get_args(kind)
        schema = _find_schema(kind)
        if schema is not None and not is_left_out:
            return self.check_section(value, schema, path)
        self.findings.known[path] = kind
        try:
            return convert_value(value, kind)
        except ValueError as error:
            reason = f"; {error}" if str(error) else ""
            hint = propose_value(value, kind)
            words = describe_kind(kind)
            self.findings.add_unfit_value(path, value, f"expected {words}{reason}{hint}")
            return value

    def check_section(self, values: Any, schema: Any, path: str) -> dict[str, Any]:
        """The values of a section, converted, and the defaults of what is left out."""
        entries = {entry.name: entry for entry in fields(schema)}
        if not isinstance(values, Mapping):
            keys = ", ".join(entries)
            expected = f"expected a section {{key: value, …}} with keys out of {keys}"
            self.findings.add_unfit_value(path, values, expected)
            return {}
        self.findings.sections.append(path)
        kinds = get_type_hints(schema, include_extras=True)
        # The keys of the schema first; of a component, the rest may be arguments of its target.
        found: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for key, value in values.items():
            if key in entries:
                inner = join_key(path, key)
                found[key] = self.check_value(value, kinds[key], inner)
            else:
                rest[key] = value
        if issubclass(schema, ComponentConfig):
            found |= self._check_component(found, rest, schema, path)
        else:
            self.findings.unknown |= flatten_leaves(rest, path)
        return found | self._fill_defaults(entries, kinds, found, path)

    def _fill_defaults(
        self, entries: dict[str, Field[Any]], kinds: dict[str, Any], found: dict[str, Any], path: str
    ) -> dict[str, Any]:
        """The defaults of the keys that are not found; a key without one is a problem."""
        filled = {}
        for name, entry in entries.items():
            if name in found:
                continue
            key = join_key(path, name)
            kind = kinds[name]
            self.findings.known[key] = kind
            default = _find_default(entry)
            if default is MISSING:
                words = describe_kind(kind)
                self.findings.problems.append(f"{key}: missing; expected {words}")
            else:
                filled[name] = default
        return filled

    def _check_tagged(self, values: Any, arms: Sequence[Any], mark: Tag, path: str) -> Any:
        """A section whose schema is picked by the value of one of its keys."""
        tag = mark.key
        schemas = _map_choices(arms, tag)
        choices = join_choices(list(schemas))
        if not isinstance(values, Mapping):
            expected = f"expected a section {{{tag}: …, …}}; {tag} is {choices}"
            self.findings.add_unfit_value(path, values, expected)
            return values
        chosen = values.get(tag, mark.default)
        if not isinstance(chosen, str) or chosen not in schemas:
            problem = f"found {show(chosen)}" if tag in values else "missing"
            self.findings.add_misfit(path, f"{path}.{tag}: {problem}; expected {choices}")
            return {}
        result = self.check_section(values, schemas[chosen], path)
        unknown = {key: value for key, value in values.items() if key not in result}
        self._report_foreign(unknown, schemas, chosen, path)
        return result

    def _report_foreign(self, unknown: Mapping[str, Any], schemas: Mapping[str, Any], chosen: str, path: str) -> None:
        """Tell which of the unknown keys belong to other choices of a tag, in place of calling them unknown."""
        keys = {choice: _list_keys(schema) for choice, schema in schemas.items()}
        foreign = unknown.keys() & set().union(*keys.values())
        if not foreign:
            return
        values = {key: unknown[key] for key in sorted(foreign)}
        for leaf in flatten_leaves(values, path):
            del self.findings.unknown[leaf]
        owners = join_choices([choice for choice in schemas if foreign & keys[choice]])
        problem = _tell_foreign(values, path, chosen, owners)
        self.findings.problems.append(problem)

    def _check_component(
        self, found: Mapping[str, Any], rest: Mapping[str, Any], schema: type[ComponentConfig], path: str
    ) -> dict[str, Any]:
        """The target of a component, which some sections have a default for, and the arguments that it takes."""
        target = found.get("_target_", getattr(schema, "_target_", None))
        if target is None or join_key(path, "_target_") in self.findings.misfits:
            return {}
        arguments = self._check_arguments(rest, target, schema, path)
        return {"_target_": target, **arguments}

    def _check_arguments(
        self, values: Mapping[str, Any], name: str, schema: type[ComponentConfig], path: str
    ) -> Mapping[str, Any]:
        """The keys of a component that are arguments of its target."""
        try:
            target = read_target(name, schema, self.importing)
        except UnusableTarget as error:
            found = show(name)
            self.findings.problems.append(f"{path}._target_={found}: {error}")
            return values
        # The schema types some arguments more narrowly than the target does.
        kinds = {}
        for key, argument in target.arguments.items():
            kinds[key] = schema.arguments.get(key, argument.kind)
        checked = {}
        for key, value in values.items():
            inner = join_key(path, key)
            if key in kinds or target.takes_all:
                checked[key] = self.check_value(value, kinds.get(key, Any), inner)
            else:
                self.findings.unknown |= flatten_leaves({key: value}, path)
        # Every argument is a known key, given or not.
        for key, argument in target.arguments.items():
            inner = join_key(path, key)
            self.findings.known.setdefault(inner, kinds[key])
            if argument.required and key not in values:
                words = describe_kind(argument.kind)
                self.findings.problems.append(f"{inner}: missing; {name} needs {words}")
        return checked


def _map_choices(arms: Sequence[Any], tag: str) -> dict[str, Any]:
    """The schema that each value of a tag picks."""
    schemas = {}
    for arm in arms:
        choices = get_args(get_type_hints(arm)[tag])
        for choice in choices:
            schemas[choice] = arm
    return schemas


def _find_schema(kind: Any) -> Any:
    """The schema of a section that a kind is, or may be; None for single values."""
    for arm in (kind, *get_args(kind)):
        if isinstance(arm, type) and is_dataclass(arm):
            return arm
    return None


def _find_default(entry: Field[Any]) -> Any:
    """The default of a key as YAML has it: sections are mappings, tuples are lists. MISSING where there is none."""
    default = entry.default
    if entry.default_factory is not MISSING:
        default = entry.default_factory()
    if default is not MISSING and is_dataclass(default):
        return vars(default)
    return list(default) if isinstance(default, tuple) else default


def _list_keys(schema: Any) -> set[str]:
    return {entry.name for entry in fields(schema)}


def _tell_foreign(values: Mapping[str, Any], path: str, chosen: str, owners: str) -> str:
    """The problem of keys that other members of a tagged union have."""
    names = [join_key(path, key) for key in values]
    listed = ", ".join(names)
    if len(names) == 1:
        value = show(*values.values())
        found = f"{listed}={value}: {chosen} has no such key, it belongs to {owners}; leave it out"
    else:
        found = f"{listed}: {chosen} has no such keys, they belong to {owners}; leave them out"
    drops = " ".join(f"~{name}" for name in names)
    return f"{found}, or drop what the YAML says with {drops}"
