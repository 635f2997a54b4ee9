"""What the rounding of convolutions and matrix products does to the gradient of A, beside float64.

    python benchmarks/rounding.py

The gradient of A at some joint steps of a training in float32, each time from the same state, on the same batch, with
the same random numbers: in float64, in float32, and with the operands of all products rounded as tensor cores round
them, to TF32 (10 bits of mantissa) or bfloat16 (7 bits); sums and all that is stored are float32 in both. The rounding
is done here, so that it asks for no GPU. Networks of trainer=quick, Adam; cosine, and relative error |g − e| / |e|.
"""

import argparse
import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genseg_betty.data.batches import Batch
from genseg_betty.multilevel.engine import PhasedEngine
from workload import Row, add_size, build_engine, gradient_of_architecture, machine, markdown, write_result

STEPS = (2, 3, 4, 10, 40)
MANTISSA = 23
FORMATS = {"float32": MANTISSA, "TF32": 10, "bfloat16": 7}
PRODUCTS = ("convolution", "convolution_backward", "mm", "addmm", "bmm", "baddbmm")


class Rounded(TorchDispatchMode):
    """Rounds the operands of products to `bits` of mantissa, to the nearest, halves away from zero."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.dropped = MANTISSA - bits

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function._schema.name.removeprefix("aten::") in PRODUCTS:
            args = tuple(self.rounded(value) if _is_operand(value) else value for value in args)
        return function(*args, **(kwargs or {}))

    def rounded(self, value: Tensor) -> Tensor:
        as_bits = value.contiguous().view(torch.int32) + (1 << (self.dropped - 1))
        return ((as_bits >> self.dropped) << self.dropped).view(torch.float32)


def _is_operand(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float32 and value.ndim > 1  # biases are not multiplied


def to_float64(engine: PhasedEngine) -> None:
    for level in engine.levels:
        level.module.double()
        level.batches = _in_float64(level.batches)
        for state in level.optimizer.state.values():
            state.update({key: value.double() for key, value in state.items() if key != "step"})
    engine.segmenter.average.double()


def _in_float64(batches: Callable[[int], Batch]) -> Callable[[int], Batch]:
    def batch(count: int) -> Batch:
        found = batches(count)
        return Batch(found.image.double(), found.mask, found.ids)

    return batch


def measure(arguments: argparse.Namespace, seed: int, steps: Sequence[int] = STEPS) -> list[Row]:
    """A row for each of the joint steps and formats of one training."""
    settings = argparse.Namespace(**{**vars(arguments), "override": [f"seed={seed}", *arguments.override]})
    _, training = build_engine(settings)
    rows = []
    for step in steps:
        while training.segmenter.count < step - 1:
            training.advance()
        state = training.state_dict()

        def anew(state: dict[str, Any] = state) -> PhasedEngine:
            engine = build_engine(settings)[1]
            engine.load_state_dict(copy.deepcopy(state))
            return engine

        exact = anew()
        to_float64(exact)
        expected = gradient_of_architecture(exact)
        for name, bits in FORMATS.items():
            with nullcontext() if bits == MANTISSA else Rounded(bits):
                found = gradient_of_architecture(anew())
            cosine = float(torch.cosine_similarity(found, expected, dim=0))
            error = float((found - expected).norm() / expected.norm())
            rows.append({"seed": seed, "step": step, "format": name, "cosine": cosine, "error": error})
    return rows


def table(rows: list[Row]) -> str:
    def cell(step: int, name: str) -> str:
        chosen = [row for row in rows if (row["step"], row["format"]) == (step, name)]
        return f"{min(row['cosine'] for row in chosen):.4f}, {median(row['error'] for row in chosen):.1e}"

    titles = ["joint step", *(f"{name}: least cosine, median error" for name in FORMATS)]
    return markdown(titles, [[str(step), *(cell(step, name) for name in FORMATS)] for step in STEPS])


def parse(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_size(parser)
    parser.set_defaults(size=64, quick=True, precision="fp32")
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args(given)


def main() -> None:
    arguments = parse()
    rows = [row for seed in range(arguments.seeds) for row in measure(arguments, seed)]
    heading = f"{arguments.size} x {arguments.size}, batch {arguments.batch}, {arguments.seeds} seeds. {machine()}."
    write_result("rounding", f"{heading}\n\n{table(rows)}", rows)


if __name__ == "__main__":
    main()
