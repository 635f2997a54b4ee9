"""Graphs of a segmenter by PyTorch's two recorders, for as many sizes of images as the network allows."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from genseg_betty.errors import UserError

SEED = 0
ODD_STEPS = (11, 19, 6)  # pixels by which the sides of an image of another size are longer: no two end up equal
LARGEST_TRIED = 96  # pixels of a side at which other sizes are tried; a volume of them is soon large
Segmenter = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Sizes:
    """Which images a recorded graph takes: None stands for any."""

    batch: int | None
    sides: tuple[int | None, ...]

    @property
    def takes_any_sides(self) -> bool:
        """Whether images of every height and width do."""
        return all(side is None for side in self.sides)


@dataclass(frozen=True)
class Written:
    """An exported file that was checked.

    Attributes:
        description: what has to be known beside it.
        sizes: of the images that it takes.
        largest_difference: between its logits and those of the Run's network.
    """

    description: dict[str, Any]
    sizes: Sizes
    largest_difference: float


def draw_images(shape: Sequence[int], low: float, high: float) -> Tensor:
    """Noise [B, C, *] float32 from `low` to `high`, the same every time."""
    source = torch.Generator().manual_seed(SEED)
    return torch.rand(*shape, generator=source) * (high - low) + low


def choose_odd_size(size: Sequence[int]) -> tuple[int, ...]:
    """Another size than the network's, with sides that differ and that no network divides."""
    steps = ODD_STEPS[: len(size)]
    return tuple(min(side, LARGEST_TRIED) + step for side, step in zip(size, steps, strict=True))


def leaves_sizes_open(network: nn.Module) -> bool:
    """Whether torch.export gets through the network with its sizes left open.

    The masks of Swin's shifted windows are made for each size: over open ones torch.export comes to no end in minutes.
    """
    return not any("Swin" in type(module).__name__ for module in network.modules())


def record_program(segmenter: nn.Module, channels: int, size: Sequence[int]) -> tuple[ExportedProgram, Sizes]:
    """The program of a segmenter [B, channels, *] by torch.export, for any batch and any size, or for `size` alone.

    Raises UserError where torch.export does not get through the network.
    """
    if leaves_sizes_open(segmenter):
        with suppress(Exception):  # of whatever kind: the network asks for a size that it knows
            program = _export_program(segmenter, [2, channels, *choose_odd_size(size)], any_sides=True)
            found = _read_sizes(program)
            if found.takes_any_sides:
                return program, found
    try:
        program = _export_program(segmenter, [2, channels, *size], any_sides=False)
    except Exception as error:
        raise explain_unrecorded("torch.export", error) from error
    return program, _read_sizes(program)


def _export_program(segmenter: nn.Module, shape: Sequence[int], any_sides: bool) -> ExportedProgram:
    free = {0: Dim.AUTO}
    if any_sides:
        free |= dict.fromkeys(range(2, len(shape)), Dim.AUTO)
    with torch.no_grad(), quiet_recorder():
        return torch.export.export(
            segmenter,
            (torch.zeros(*shape),),
            dynamic_shapes=(free,),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,  # what it cannot prove of sizes is no reason to fix them
        )


def _read_sizes(program: ExportedProgram) -> Sizes:
    """Which sides of the program's input are numbers, and which are free."""
    (name,) = program.graph_signature.user_inputs
    (node,) = [node for node in program.graph.nodes if node.name == name]
    batch, _, *sides = [side if type(side) is int else None for side in node.meta["val"].shape]
    return Sizes(batch, tuple(sides))


def trace_script(segmenter: nn.Module, channels: int, size: Sequence[int]) -> torch.jit.ScriptModule:
    """The TorchScript of a segmenter [B, channels, *], traced at `size`. Raises UserError where tracing fails."""
    example = torch.zeros(2, channels, *size)
    try:
        with torch.no_grad(), quiet_recorder():
            traced: torch.jit.ScriptModule = torch.jit.trace(segmenter, example, check_trace=False)
    except Exception as error:
        raise explain_unrecorded("torch.jit.trace", error) from error
    return traced


def names_device(script: torch.jit.ScriptModule) -> bool:
    """Whether a traced graph makes tensors on the device that it was traced on, so that it runs on the CPU alone."""
    return 'Device = prim::Constant[value="cpu"]' in str(script.inlined_graph)


@contextmanager
def quiet_recorder() -> Iterator[None]:
    """PyTorch's recorders warn of what is checked afterwards, and of their own parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def explain_unrecorded(recorder: str, error: Exception) -> UserError:
    """The UserError for a network that a recorder does not get through."""
    lines: list[Any] = str(error).strip().splitlines() or [type(error).__name__]
    return UserError(
        f"this network cannot be exported so: {recorder} stops at it ({lines[0]}). Try another --format, or train a "
        "backbone of this package, each of which is exported in every format"
    )
