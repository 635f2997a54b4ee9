"""Whether states of levels that a file holds could be loaded, found out before any of them is."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from genseg_betty.build import build_optimizer
from genseg_betty.multilevel.level import Level


def find_state_mismatches(levels: Sequence[Level], optimizers: DictConfig, saved: Any, steps: int) -> list[str]:
    """Say what keeps `saved` (level name -> `Level.state_dict`) from being the states of `levels`. Nothing is changed.

    The options of a saved optimizer (param_groups) are not looked at.

    Args:
        optimizers: the sections of the config that build the levels' optimizers, by level name.
        steps: how many steps each level must have made.
    """
    expected = {}
    for level in levels:
        expected[level.name] = {**level.state_dict(), "optimizer": _expect_optimizer(level, optimizers, saved)}
    mismatches = list(_compare_forms(expected, saved, "levels"))
    if mismatches:
        return mismatches
    for name, state in saved.items():
        if state["count"] != steps:
            mismatches.append(f"{name} has made {state['count']} steps, expected {steps}")
    return mismatches


def _expect_optimizer(level: Level, optimizers: DictConfig, saved: Any) -> dict[str, Any]:
    """The form of a level's optimizer state: tensors of its shapes, None for one number or none, ... for anything."""
    if _look_up(saved, level.name, "optimizer", "state") == {}:  # not one of its steps was finite
        return {"state": {}, "param_groups": ...}
    trainable = [parameter for parameter in level.module.parameters() if parameter.requires_grad]
    return {"state": _expect_moments(optimizers[level.name], trainable), "param_groups": ...}


def _expect_moments(optimizer: DictConfig, parameters: Sequence[nn.Parameter]) -> dict[int, dict[str, Any]]:
    """What the optimizer keeps for each weight after a step, by the weight's number; learned from a small stand-in."""
    stand_in = nn.Parameter(torch.zeros(2))
    stand_in.grad = torch.zeros(2)
    stepped = build_optimizer(optimizer, nn.ParameterList([stand_in]))
    stepped.step()

    # What has the shape of the stand-in has the shape of each weight; the rest is the same for all of them.
    moments: dict[int, dict[str, Any]] = {}
    for index, parameter in enumerate(parameters):
        for name, value in stepped.state.get(stand_in, {}).items():
            if value is None:
                continue
            has_shape = isinstance(value, Tensor) and value.shape == stand_in.shape
            form = torch.empty_like(parameter, device="meta") if has_shape else value
            moments.setdefault(index, {})[name] = form
    return moments


def _compare_forms(expected: Any, found: Any, place: str) -> Iterator[str]:
    """A sentence for each place at which the forms differ; goes no deeper into `found` than `expected` does."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() ^ found.keys(), key=str):
            yield f"{place}.{key} is {'missing' if key in expected else 'not expected'}"
        for key in expected:
            if key in found:
                yield from _compare_forms(expected[key], found[key], f"{place}.{key}")
    elif expected is None:
        is_number = isinstance(found, Tensor) and found.ndim == 0
        if found is not None and not is_number:
            yield f"{place} is {_describe_form(found)}, expected one number"
    elif expected is not ... and _describe_form(expected) != _describe_form(found):
        yield f"{place} is {_describe_form(found)}, expected {_describe_form(expected)}"


def _describe_form(value: Any) -> str:
    if isinstance(value, dict):
        return "of type dict"  # ordered or not
    if not isinstance(value, Tensor):
        return f"of type {type(value).__name__}"
    layout = "" if value.layout == torch.strided else f"{value.layout} "
    kind = str(value.dtype).removeprefix("torch.")
    return f"a tensor of {layout}{kind} {list(value.shape)}"


def _look_up(nested: Any, *keys: str) -> Any:
    for key in keys:
        nested = nested.get(key) if isinstance(nested, dict) else None
    return nested
