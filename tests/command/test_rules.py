"""Every key that conf/ shows has a rule, and every rule belongs to a key."""

from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from omegaconf import OmegaConf

from genseg_betty.config import all_members, compose, conf_dir
from genseg_betty.config.checking import SectionChecker
from genseg_betty.config.components import (
    AugmentConfig,
    BackboneConfig,
    ComponentConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    MethodConfig,
    ObjectiveConfig,
)
from genseg_betty.config.findings import Findings
from genseg_betty.config.marks import Length, Range
from genseg_betty.config.schema import Config
from genseg_betty.config.signatures import read_signature

# What only the publisher, a library or another dataset's own rules can judge: plain, finite, not nested too deeply.
# The members that a method brings along are composed, and are not in the config.
OPEN = ("dataset.about", "backbone.arguments", "dataset.ood", "ood", "method.members", "launcher.options")
FILES = sorted(path.relative_to(conf_dir()).with_suffix("") for path in conf_dir().rglob("*.yaml"))
GROUPS_OF_COMPONENTS = {
    "backbone": BackboneConfig,
    "generator": GeneratorConfig,
    "method": MethodConfig,
    "augment": AugmentConfig,
}


def has_a_rule(kind: Any) -> bool:
    """Whether numbers have limits on both sides, texts and lists a length, and all within as well."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        core, *marks = arguments
        ranges = [mark for mark in marks if isinstance(mark, Range)]
        if core in (int, float):
            return any(is_bounded(mark) for mark in ranges)
        if core is str:
            return any(isinstance(mark, Length) for mark in marks)
        items = get_args(core)
        return all(has_a_rule(item) for item in items) and (
            get_origin(core) is not list or any(isinstance(mark, Length) for mark in marks)
        )
    if origin in (Union, UnionType, tuple, dict):
        return all(has_a_rule(arm) for arm in arguments)
    return origin is Literal or kind in (bool, NoneType) or is_dataclass(kind)  # the keys of a section have theirs


def is_bounded(limits: Range) -> bool:
    below = any(limit is not None for limit in (limits.least, limits.above, limits.beyond))
    return below and any(limit is not None for limit in (limits.most, limits.below, limits.beyond))


@cache
def known_keys(*lines: str) -> dict[str, Any]:
    """The kind of every key of a config, those that stand in no file too."""
    findings = Findings([])
    SectionChecker(findings).check_section(OmegaConf.to_container(compose(lines)), Config, "")
    return findings.known


def leaves(tree: dict[str, Any], above: str = "") -> list[str]:
    found = []
    for key, value in tree.items():
        path = f"{above}.{key}" if above else str(key)
        found += leaves(value, path) if isinstance(value, dict) and value else [path]
    return found


def is_open(key: str) -> bool:
    return key.startswith(OPEN)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_key_of_a_file_has_a_rule(file: Any) -> None:
    text = (conf_dir() / file).with_suffix(".yaml").read_text(encoding="utf-8")
    tree = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(tree, dict)
    whole_tree = len(file.parts) == 1 or "@package _global_" in text
    prefix = "" if whole_tree else file.parts[0]
    lines = [] if len(file.parts) == 1 else [f"{file.parts[0]}={file.parts[1]}"]
    known = known_keys(*lines)
    for key in leaves({key: value for key, value in tree.items() if key not in ("defaults", "hydra")}, prefix):
        assert (
            is_open(key)
            or key in known
            or any(name.startswith(f"{key}.") for name in known)
            or any(key.startswith(f"{name}.") for name in known)
        ), f"{file}: {key} has no rule"


@pytest.mark.parametrize("line", [f"{group}={member}" for group, names in all_members().items() for member in names])
def test_every_rule_has_limits(line: str) -> None:
    without = {key for key, kind in known_keys(line).items() if not (is_open(key) or has_a_rule(kind))}
    assert not without


def sections() -> dict[type[ComponentConfig], set[str]]:
    """The targets that conf/ names, by the section that they stand in."""
    kinds = (*GROUPS_OF_COMPONENTS.values(), ObjectiveConfig, DiscriminatorConfig)
    found: dict[type[ComponentConfig], set[str]] = {kind: set() for kind in kinds}
    for group, schema in GROUPS_OF_COMPONENTS.items():
        for member in all_members()[group]:
            tree = OmegaConf.load(conf_dir() / group / f"{member}.yaml")
            parts = {
                schema: tree,
                ObjectiveConfig: tree.get("objective"),
                DiscriminatorConfig: tree.get("discriminator"),
            }
            for kind, part in parts.items():
                found[kind] |= {part._target_} if part else set()
    return found


def test_every_rule_of_an_argument_belongs_to_one() -> None:
    for schema, targets in sections().items():
        taken = {parameter.name for target in targets for parameter in read_signature(target)[0]}
        assert schema.arguments.keys() <= taken, schema


def test_every_key_without_a_default_stands_in_the_files() -> None:
    """One that the schema asks for and no file gives would make every config faulty."""
    compose([])
    schemas = [Config]
    for schema in schemas:
        hints = get_type_hints(schema)
        schemas += [kind for kind in hints.values() if is_dataclass(kind) and kind not in schemas]
    entries = [entry for schema in schemas for entry in fields(schema)]
    needed = [entry.name for entry in entries if entry.default is entry.default_factory is MISSING]
    shown = {key.rpartition(".")[2] for key in leaves(OmegaConf.to_container(compose([])))}
    shown |= set(all_members()) | {"optimizers", "segmenter", "generator", "discriminator", "architecture"}
    assert set(needed) <= shown


def test_a_number_without_limits_has_no_rule() -> None:
    assert not has_a_rule(int)
    assert not has_a_rule(float | None)
    assert not has_a_rule(list[str])
    assert not has_a_rule(Annotated[float, Range(least=0)])
    assert not has_a_rule(dict[str, Any])
    assert has_a_rule(Annotated[int, Range(least=0, beyond=9)] | Literal["all"] | None)
