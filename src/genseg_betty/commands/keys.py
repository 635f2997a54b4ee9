"""The keys of a training's config, and what each may hold: for completion, which composes nothing and loads no code."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import Parameter
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from genseg_betty.config import conf_dir, group_names
from genseg_betty.config.components import ComponentConfig
from genseg_betty.config.schema import Config
from genseg_betty.config.signatures import read_signature
from genseg_betty.config.source import PACKAGE
from genseg_betty.config.wording import show

VARIABLE = (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)  # arguments without a name that a key could have


def find_keys(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Dotted key -> its type. `chosen` are members of groups; of others the defaults count."""
    members = {**_read_default_members(), **chosen}
    trees = {}
    for group in group_names():
        file = conf_dir() / group / f"{members.get(group)}.yaml"
        trees[group] = _read_yaml(file)
    found: dict[str, Any] = {}
    for key, kind in _walk_keys(Config, trees, ""):
        # A key of several kinds of a section may hold what any of them takes.
        is_other = key in found and found[key] != kind
        found[key] = found[key] | kind if is_other else kind
    return found


def list_values(kind: Any) -> list[str]:
    """The values that a type names: choices, true and false, null."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return [show(choice) for choice in arguments]
    if origin is Annotated:
        return list_values(arguments[0])
    if origin in (Union, UnionType, list):
        return [value for part in arguments for value in list_values(part)]
    if kind is bool:
        return ["true", "false"]
    return ["null"] if kind is NoneType else []


def _read_default_members() -> dict[str, str]:
    """The member of every group when nothing is said."""
    members = {}
    for entry in _read_yaml(conf_dir() / "config.yaml").get("defaults", ()):
        if isinstance(entry, dict):
            members.update(entry)
    return members


def _walk_keys(schema: Any, tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """The dotted keys of a section and of those below it, each with its type."""
    kinds = get_type_hints(schema, include_extras=True)
    found = {entry.name: kinds[entry.name] for entry in fields(schema) if entry.name != "_target_"}
    target = str(tree.get("_target_", getattr(schema, "_target_", "")))
    if issubclass(schema, ComponentConfig) and target.startswith(f"{PACKAGE}."):
        found |= _list_arguments(schema, target)
    for name, kind in found.items():
        key = f"{prefix}{name}"
        sections = list(_list_sections(kind))
        if not sections:
            yield key, kind
        inner = tree.get(name)
        inner_tree = inner if isinstance(inner, dict) else {}
        for section in sections:
            yield from _walk_keys(section, inner_tree, f"{key}.")


def _list_arguments(schema: type[ComponentConfig], target: str) -> dict[str, Any]:
    """The arguments of a target that a config may give, each with its type."""
    parameters, types = read_signature(target)
    arguments = {}
    for parameter in parameters:
        name = parameter.name
        is_ours = name in schema.supplied or name in schema.offered
        if not is_ours and parameter.kind not in VARIABLE:
            arguments[name] = schema.arguments.get(name, types.get(name))
    return arguments


def _list_sections(kind: Any) -> Iterator[Any]:
    """The dataclasses that a type is made of."""
    if isinstance(kind, type) and is_dataclass(kind):
        yield kind
    elif get_origin(kind) is Annotated:
        yield from _list_sections(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for part in get_args(kind):
            yield from _list_sections(part)


def _read_yaml(file: Path) -> dict[str, Any]:
    """A YAML file of the package; {} where there is none."""
    if not file.is_file():
        return {}
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}
