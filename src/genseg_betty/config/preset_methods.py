"""Methods that come with members of other groups, such as method=rotate with augment=rotate.

Their YAML says so by `members: {augment: rotate}`. No other member of these groups goes with them, and a recipe of
conf/augment is taken as it is.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from genseg_betty.config.composing import default_choices
from genseg_betty.config.findings import flatten_leaves
from genseg_betty.config.folders import group_names
from genseg_betty.config.overrides import OPTIONAL, Overrides
from genseg_betty.config.wording import join_choices, show
from genseg_betty.errors import ConfigError

Choices = Mapping[str, str | None]
Compose = Callable[[Mapping[str, str]], tuple[DictConfig, dict[str, str | None]]]
"""Chosen members -> the tree that they compose, and the member of every group."""
AUGMENT = "augment"
GENERAL = {AUGMENT: "supervised", "generator": "separate"}
"""The method that takes any member of a group, where others come with one."""
DEFAULT, PAPER = "default", "paper"  # the same recipe by two names


def take_members(method: DictConfig) -> dict[str, str]:
    """Remove `members` from the section of a method. Returns them: group -> member. Raises ConfigError."""
    found = method.pop("members", None) or {}
    members = OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
    groups = [group for group in group_names() if group not in ("method", *OPTIONAL)]
    if not isinstance(members, dict) or not members.keys() <= set(groups):
        expected = f"expected {{group: member}} with groups out of {join_choices(groups)}"
        raise ConfigError([f"method.members={show(members)}: {expected}"])
    return {str(group): str(member) for group, member in members.items()}


def compose_preset(
    overrides: Overrides, compose: Compose, problems: list[str], yields: bool = False
) -> tuple[DictConfig, dict[str, str | None], dict[str, str]]:
    """The tree of the chosen members and of those that come with the method, without the values that the user sets.

    Returns the member of every group as well, and the members that came with the method. A line for all that asks for
    others is added to `problems`.

    Args:
        yields: whether members that an experiment chose are left for those of the method: a sweep over several methods
            chooses for those that take any.
    """
    tree, choices = compose(overrides.groups)
    members = take_members(tree.method)
    if not members:
        return tree, choices, members
    usual = default_choices()
    for group, member in members.items():
        chosen = str(choices[group])
        is_asked = group in overrides.groups or (chosen not in (usual[group], member) and not yields)
        if is_asked:
            problems.append(_refuse_member(group, chosen, member, choices["method"]))

    tree, choices = compose({**overrides.groups, **members})
    take_members(tree.method)
    if AUGMENT in members:
        problems += _refuse_keys(overrides.values, members[AUGMENT], choices["method"])
        pure, _ = compose({AUGMENT: members[AUGMENT]})
        if tree.augment != pure.augment:
            problems.append(
                f"experiment={choices['experiment']}: it sets keys of augment, and method={choices['method']} takes "
                f"augment={members[AUGMENT]} as it is; choose method=supervised"
            )
    return tree, choices, members


def describe_recipe(tree: DictConfig, base: DictConfig, choices: Choices, compose: Compose) -> str:
    """The name of the recipe that a training has, and the keys in which it differs from what the name stands for.

    Args:
        tree: the composed tree with the user's values.
        base: the same without them.
    """
    recipe = str(choices[AUGMENT])
    usual = base.augment
    if choices.get("experiment"):
        usual = compose({AUGMENT: recipe})[0].augment
    before = _flatten_section(usual)
    after = _flatten_section(tree.augment)
    name = PAPER if recipe == DEFAULT else recipe
    changed = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            changed.append(f"{key}={show(after.get(key))}")
    return f"{name} with {', '.join(changed)}" if changed else name


def _refuse_member(group: str, chosen: str, member: str, method: str | None) -> str:
    asked = f"{group}={chosen}"
    if chosen == member:
        return f"{asked}: method={method} comes with it; leave it out"
    general = GENERAL.get(group, method)
    return f"{asked}: method={method} comes with {group}={member}; choose method={general} {asked}"


def _refuse_keys(values: Iterable[Override], recipe: str, method: str | None) -> list[str]:
    """A line for each key of the recipe that is set."""
    problems = []
    for override in values:
        if override.key_or_group.startswith(f"{AUGMENT}."):
            line = show(override.input_line)
            problems.append(
                f"{line}: method={method} takes {AUGMENT}={recipe} as it is; choose method=supervised "
                f"{AUGMENT}={recipe} {line}"
            )
    return problems


def _flatten_section(section: DictConfig) -> dict[str, Any]:
    """Dotted key -> value, of all that a recipe sets."""
    values: dict[str, Any] = OmegaConf.to_container(section, resolve=True)  # type: ignore[assignment]
    return flatten_leaves(values, AUGMENT)
