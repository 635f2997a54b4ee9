"""Whether states of levels that a file holds could be loaded, found out before any of them is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from genseg_betty.build import build_optimizer
from genseg_betty.multilevel.level import Level


def misfits(levels: Sequence[Level], optimizers: Mapping[str, DictConfig], found: Any, steps: int) -> list[str]:
    """What keeps `found` (level name -> `Level.state_dict`) from being the states of `levels` after `steps` steps.

    `optimizers` are the sections of the config that build those of the levels, by level name. The options of a saved
    optimizer (param_groups) are not looked at. Nothing is changed.
    """
    expected = {level.name: _expected(level, optimizers[level.name], found) for level in levels}
    faults = list(_differences(expected, found, "levels"))
    counts = [] if faults else [(name, state["count"]) for name, state in found.items()]
    return faults + [f"{name} has made {count} steps, expected {steps}" for name, count in counts if count != steps]


def _expected(level: Level, optimizer: DictConfig, found: Any) -> dict[str, Any]:
    """The form of this level's state: tensors of its shapes, None for one number or none, ... for anything."""
    moments = _moments(optimizer, [p for p in level.module.parameters() if p.requires_grad])
    with_moments = {"state": moments, "param_groups": ...}
    if _at(found, level.name, "optimizer", "state") == {}:  # not one of its steps was sound
        with_moments["state"] = {}
    return {**level.state_dict(), "optimizer": with_moments}


def _moments(optimizer: DictConfig, parameters: Sequence[nn.Parameter]) -> dict[int, dict[str, Any]]:
    """What the optimizer keeps for each weight after a step, by its number; read off a step of a stand-in."""
    stand_in = nn.Parameter(torch.zeros(2))
    stand_in.grad = torch.zeros(2)
    stepped = build_optimizer(optimizer, nn.ParameterList([stand_in]))
    stepped.step()
    kept = stepped.state.get(stand_in, {})

    def like(value: Any, parameter: Tensor) -> Any:
        if not isinstance(value, Tensor) or value.shape != stand_in.shape:
            return value
        return torch.empty_like(parameter, device="meta")

    moments = {name: value for name, value in kept.items() if value is not None}
    forms = [{name: like(value, parameter) for name, value in moments.items()} for parameter in parameters]
    return {index: form for index, form in enumerate(forms) if form}


def _differences(expected: Any, found: Any, place: str) -> Iterator[str]:
    """A sentence for each place at which the forms differ; goes no deeper into `found` than `expected` does."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() ^ found.keys(), key=str):
            yield f"{place}.{key} is {'missing' if key in expected else 'not expected'}"
        for key, value in expected.items():
            if key in found:
                yield from _differences(value, found[key], f"{place}.{key}")
    elif expected is None:
        if found is not None and not (isinstance(found, Tensor) and found.ndim == 0):
            yield f"{place} is {_form(found)}, expected one number"
    elif expected is not ... and _form(expected) != _form(found):
        yield f"{place} is {_form(found)}, expected {_form(expected)}"


def _form(value: Any) -> str:
    if isinstance(value, dict):
        return "of type dict"  # ordered or not
    if not isinstance(value, Tensor):
        return f"of type {type(value).__name__}"
    layout = "" if value.layout == torch.strided else f"{value.layout} "
    return f"a tensor of {layout}{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _at(nested: Any, *keys: str) -> Any:
    for key in keys:
        nested = nested.get(key) if isinstance(nested, dict) else None
    return nested
