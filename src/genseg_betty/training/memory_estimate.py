"""How large the networks of a training are, found out before its first step and without running them on values."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import SGD, Optimizer, RMSprop
from torch.utils.flop_counter import FlopCounterMode

from genseg_betty.build import count_parameters
from genseg_betty.levels.stage import Computation, select_stages
from genseg_betty.multilevel.engine import RECORDING, PhasedEngine
from genseg_betty.training.dry_run import Shape, dry_run_modules

MIB = 2**20
# Copies of a level's weights beside weight, gradient and moments, and of its activations, that a recorded step holds
# until its derivative has been taken: fitted to benchmarks/results, iterations with and without a hypergradient.
RECORDED_WEIGHTS, RECORDED_ACTIVATIONS = 5, 3


@dataclass(frozen=True)
class NetworkSize:
    """One network: its weights, and for one batch the multiply-adds and the bytes kept for the backward pass.

    Attributes:
        weights: numbers in its weights.
        multiply_adds: of one pass.
        activations: bytes that one pass keeps.
        of_step: bytes that a whole step of its level keeps, in which it and the discriminator may run more than once.

    The last three are None for a network that looks at values, as they cannot be told without these.
    """

    weights: int
    multiply_adds: int | None = None
    activations: int | None = None
    of_step: int | None = None

    def __str__(self) -> str:
        parts = [f"{_shorten_count(self.weights)} weights"]
        if self.multiply_adds is not None and self.activations is not None:
            parts.append(f"{_shorten_count(self.multiply_adds)} multiply-adds")
            parts.append(f"{self.activations / MIB:.0f} MiB of activations")
        return ", ".join(parts)


def measure_networks(engine: PhasedEngine, image: Shape, condition: Shape) -> dict[str, NetworkSize]:
    """The size of each level's network by the level's name, for a batch of images and encoded masks of these shapes."""
    sizes = {}
    for level in select_stages(engine.levels):
        if not level.is_network:
            continue
        multiply_adds, activations = measure_pass(*level.dry_pass(), image, condition)
        of_step = find_kept_bytes(*level.dry_step(), image, condition)
        weights = count_parameters(level.module)
        sizes[level.name] = NetworkSize(weights, multiply_adds, activations, of_step)
    return sizes


def estimate_memory(engine: PhasedEngine, sizes: dict[str, NetworkSize]) -> float:
    """About how many bytes the training takes at its peak, beside the data and the libraries."""
    total = 0.0
    records = RECORDING[engine.plan.hypergradient] == "graph"
    for level in select_stages(engine.levels):
        if level.name not in sizes:
            continue
        size = sizes[level.name]
        is_recorded = records and level.records_step
        copies = 2 + _count_moments(level.optimizer)
        if is_recorded:
            copies += RECORDED_WEIGHTS
        if level.holds_average:
            copies += 1
        total += 4 * size.weights * copies
        total += (size.of_step or 0) * (RECORDED_ACTIVATIONS if is_recorded else 1)
    return total


def measure_pass(
    modules: Sequence[nn.Module], run: Computation, image: Shape, condition: Shape
) -> tuple[int | None, int | None]:
    """The multiply-adds of `run`, which takes no gradient, and the bytes it keeps; None where these cannot be told."""
    with FlopCounterMode(display=False) as counter:
        kept = find_kept_bytes(modules, run, image, condition)
    return None if kept is None else counter.get_total_flops() // 2, kept


def find_kept_bytes(modules: Sequence[nn.Module], run: Computation, image: Shape, condition: Shape) -> int | None:
    """What `run` keeps for its backward pass beside the modules' weights; None where a module looks at values."""
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no two of them lie at one place

    def keep_size(tensor: Tensor) -> Tensor:
        kept[_find_place(tensor)] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    with suppress(Exception), saved_tensors_hooks(keep_size, lambda tensor: tensor):  # whatever a module raises
        own = {_find_place(value) for value in dry_run_modules(modules, run, image, condition)}
        return sum(size for place, size in kept.items() if place not in own)
    return None


def _find_place(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _count_moments(optimizer: Optimizer) -> int:
    """Numbers of the size of the weights that an optimizer keeps."""
    if isinstance(optimizer, SGD | RMSprop):
        options = optimizer.param_groups[0]
        return sum(bool(options.get(key)) for key in ("momentum", "alpha"))
    return 2


def _shorten_count(count: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"
