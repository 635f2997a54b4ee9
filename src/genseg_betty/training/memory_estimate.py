"""How large the networks of a training are, found out before its first step and without running them on values."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import SGD, Optimizer, RMSprop
from torch.utils.flop_counter import FlopCounterMode

from genseg_betty.build import count_parameters
from genseg_betty.multilevel.engine import RECORDING, PhasedEngine
from genseg_betty.training.dry_run import Run, Shape, one_pass, one_step, rehearse

MIB, GIB = 2**20, 2**30
# Copies of a level's weights beside weight, gradient and moments, and of its activations, that a recorded step holds
# until its derivative has been taken: fitted to benchmarks/results, iterations with and without a hypergradient.
RECORDED_WEIGHTS, RECORDED_ACTIVATIONS = 5, 3


@dataclass(frozen=True)
class Size:
    """One network: its weights, and for one batch the multiply-adds and the bytes kept for the backward pass.

    `of_step`: the bytes that a whole step of its level keeps, in which it may run more than once, and its opponent too.
    None: it looks at values, so that it cannot be told without them.
    """

    weights: int
    multiply_adds: int | None = None
    activations: int | None = None
    of_step: int | None = None

    def __str__(self) -> str:
        parts = [f"{_short(self.weights)} weights"]
        if self.multiply_adds is not None and self.activations is not None:
            parts += [f"{_short(self.multiply_adds)} multiply-adds", f"{self.activations / MIB:.0f} MiB of activations"]
        return ", ".join(parts)


def sizes(engine: PhasedEngine, image: Shape, condition: Shape) -> dict[str, Size]:
    """The size of each level's network by the level's name, for a batch of images and encoded masks of these shapes."""
    found = {}
    for level in engine.levels:
        if level.name == "architecture":
            continue
        of_pass = measure(*one_pass(level), image, condition)
        of_step = bytes_kept(*one_step(level), image, condition)
        found[level.name] = Size(count_parameters(level.module), *of_pass, of_step)
    return found


def needed_memory(engine: PhasedEngine, found: dict[str, Size]) -> float:
    """About how many bytes the training takes at its peak, beside the data and the libraries."""
    total = 0.0
    records = RECORDING[engine.plan.hypergradient] == "graph"
    for level in engine.levels:
        if level.name not in found:
            continue
        size, recorded = found[level.name], records and level.name != "discriminator"
        copies = 2 + _moments(level.optimizer) + (RECORDED_WEIGHTS if recorded else 0)
        copies += level.name == "segmenter"  # the average
        total += 4 * size.weights * copies
        total += (size.of_step or 0) * (RECORDED_ACTIVATIONS if recorded else 1)
    return total


def measure(networks: Sequence[nn.Module], run: Run, image: Shape, condition: Shape) -> tuple[int | None, int | None]:
    """The multiply-adds of `run` through the networks, which takes no gradient, and `bytes_kept`; None as there."""
    with FlopCounterMode(display=False) as counter:
        kept = bytes_kept(networks, run, image, condition)
    return None if kept is None else counter.get_total_flops() // 2, kept


def bytes_kept(networks: Sequence[nn.Module], run: Run, image: Shape, condition: Shape) -> int | None:
    """What `run` through the networks keeps for its backward pass beside their weights; None where one of them looks
    at values."""
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no two of them lie at one place

    def keep(tensor: Tensor) -> Tensor:
        kept[_place(tensor)] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    with suppress(Exception), saved_tensors_hooks(keep, lambda tensor: tensor):  # whatever a foreign network raises
        own = {_place(value) for value in rehearse(networks, run, image, condition)}
        return sum(size for place, size in kept.items() if place not in own)
    return None


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


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
