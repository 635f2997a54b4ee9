"""How large the networks of a training are, found out before its first step and without running them on values."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.optim import SGD, Optimizer, RMSprop
from torch.utils.flop_counter import FlopCounterMode

from genseg_betty.backbones.probe import without_values
from genseg_betty.levels.engine import RECORDING, GenSegEngine
from genseg_betty.levels.generation import Generation
from genseg_betty.levels.level import Level

MIB, GIB = 2**20, 2**30
# Copies of a level's weights beside weight, gradient and moments, and of its activations, that a recorded step holds
# until its derivative has been taken: fitted to benchmarks/results, iterations with and without a hypergradient.
RECORDED_WEIGHTS, RECORDED_ACTIVATIONS = 5, 3


@dataclass(frozen=True)
class Size:
    """One network: its weights, and for one batch the multiply-adds and the bytes kept for the backward pass."""

    weights: int
    multiply_adds: int | None = None  # None: it looks at values, so that it cannot be told without them
    activations: int | None = None

    def __str__(self) -> str:
        parts = [f"{_short(self.weights)} weights"]
        if self.multiply_adds is not None and self.activations is not None:
            parts += [f"{_short(self.multiply_adds)} multiply-adds", f"{self.activations / MIB:.0f} MiB of activations"]
        return ", ".join(parts)


def sizes(engine: GenSegEngine, image: tuple[int, ...], condition: tuple[int, ...]) -> dict[str, Size]:
    """The size of each level's network by the level's name, for a batch of images and encoded masks of these shapes."""
    found = {}
    for level in engine.levels:
        if level.name == "architecture":
            continue
        found[level.name] = measure(level.module, _pass(engine, level), image, condition)
    return found


def needed_memory(engine: GenSegEngine, found: dict[str, Size]) -> float:
    """About how many bytes the training takes at its peak, beside the data and the libraries."""
    total = 0.0
    records = RECORDING[engine.plan.hypergradient] == "graph"
    for level in engine.levels:
        if level.name not in found:
            continue
        size, recorded = found[level.name], records and level.name != "discrimination"
        copies = 2 + _moments(level.optimizer) + (RECORDED_WEIGHTS if recorded else 0)
        copies += level.name == "segmentation"  # the average
        total += 4 * size.weights * copies
        passes = 2 if level.name in ("segmentation", "discrimination") else 1  # of synthetic pairs and of real ones
        total += (size.activations or 0) * passes * (RECORDED_ACTIVATIONS if recorded else 1)
    return total


def free_memory(device: torch.device | str) -> float:
    """Bytes that are free: on the GPU, or in main memory within the limits of the container."""
    if torch.device(device).type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    limits = [math.inf]
    with suppress(OSError, ValueError, StopIteration):
        line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
        limits.append(1024.0 * int(line.split()[1]))
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limits.append(float((group / "memory.max").read_text()) - float((group / "memory.current").read_text()))
    return min(limits)


def measure(network: nn.Module, run: Callable[..., Any], image: tuple[int, ...], condition: tuple[int, ...]) -> Size:
    """The size of `network`, which `run(call, image, condition)` calls as the training does."""
    weights = sum(parameter.numel() for parameter in network.parameters())
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if (place := _place(tensor)) not in own:
            kept[place] = tensor.untyped_storage().nbytes()
            alive.append(tensor)
        return tensor

    alive: list[Tensor] = []  # so that no two of them lie at one place
    try:
        with without_values(network) as (state, empty), FlopCounterMode(display=False) as counter:
            own = {_place(value) for value in state.values()}
            for name, parameter in network.named_parameters():
                state[name].requires_grad_(parameter.requires_grad)
            with torch.random.fork_rng(), saved_tensors_hooks(keep, lambda tensor: tensor):
                run(lambda *inputs: functional_call(network, state, inputs), empty(image), empty(condition))
    except Exception:  # whatever a foreign network does with tensors that hold no values
        return Size(weights)
    return Size(weights, counter.get_total_flops() // 2, sum(kept.values()))


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _pass(engine: GenSegEngine, level: Level) -> Callable[..., Any]:
    if isinstance(level, Generation):
        choices = None if level.choices is None else {half: w.detach() for half, w in level.choices().items()}
        return lambda call, image, condition: level.objective.draw(lambda *inputs: call(*inputs, choices), condition)
    if level.name == "discrimination":
        return lambda call, image, condition: call(condition, image)
    return lambda call, image, condition: call(image)


def _moments(optimizer: Optimizer) -> int:
    """Numbers of the size of the weights that an optimizer keeps."""
    if isinstance(optimizer, SGD | RMSprop):
        return sum(bool(optimizer.param_groups[0].get(key)) for key in ("momentum", "alpha"))
    return 2


def _short(count: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"
