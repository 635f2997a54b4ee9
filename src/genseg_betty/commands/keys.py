"""The keys of a training's config, and what each may hold: for completion, which composes nothing and loads no code."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
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


def find_keys(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Dotted key -> its type. `chosen` are members of groups; of others the defaults count."""
    defaults = {
        group: member
        for entry in _load(conf_dir() / "config.yaml").get("defaults", ())
        if isinstance(entry, dict)
        for group, member in entry.items()
    }
    trees = {
        group: _load(conf_dir() / group / f"{chosen.get(group, defaults.get(group))}.yaml") for group in group_names()
    }
    found: dict[str, Any] = {}
    for key, kind in _walk(Config, trees, ""):  # a key of several kinds of a section may hold what any of them takes
        found[key] = found[key] | kind if key in found and found[key] != kind else kind
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


def _walk(schema: Any, tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    kinds = get_type_hints(schema, include_extras=True)
    found = {entry.name: kinds[entry.name] for entry in fields(schema) if entry.name != "_target_"}
    target = str(tree.get("_target_", getattr(schema, "_target_", "")))
    if issubclass(schema, ComponentConfig) and target.startswith(f"{PACKAGE}."):
        found |= _arguments(schema, target)
    for name, kind in found.items():
        sections = list(_sections(kind))
        inner = tree.get(name)
        for section in sections:
            yield from _walk(section, inner if isinstance(inner, dict) else {}, f"{prefix}{name}.")
        if not sections:
            yield f"{prefix}{name}", kind


def _arguments(schema: type[ComponentConfig], target: str) -> dict[str, Any]:
    parameters, types = read_signature(target)
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {
        one.name: schema.arguments.get(one.name, types.get(one.name))
        for one in parameters
        if one.name not in (*schema.supplied, *schema.offered) and one.kind not in variable
    }


def _sections(kind: Any) -> Iterator[Any]:
    """The dataclasses that a type is made of."""
    if isinstance(kind, type) and is_dataclass(kind):
        yield kind
    elif get_origin(kind) is Annotated:
        yield from _sections(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for part in get_args(kind):
            yield from _sections(part)


def _load(file: Path) -> dict[str, Any]:
    """A YAML file of the package; {} where there is none."""
    found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found if isinstance(found, dict) else {}
