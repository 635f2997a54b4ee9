"""What a joint iteration costs, part by part, beside what this machine can do at most.

    python benchmarks/iteration.py                      the authors' sizes: 256 x 256, batch 2, the decoder searched
    python benchmarks/iteration.py --size 64 --quick    small networks

The parts are the forward pass, the backward pass and the update of each level (H, G, S, A) and the two hops of the
hypergradient. Of each: floating-point operations by PyTorch's counter (convolutions and matrix products; two for a
multiply-add), bytes that its operators read and write (each operand once, as if there were no cache), and seconds. The
floor is what it would take at the peak of a product (matrices or convolution) or of a copy, whichever is longer; both
are measured in the same run. A part may be faster than its floor by bytes, where the cache holds what one operator
leaves the next. `gpu.py` measures on a GPU.

A step without and one with the hypergradient alternate (arch_every=2). With --precision bf16 the former is computed in
bfloat16, and has a table and a peak of its own; the latter stays in float32, but for H.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
from betty.hypergradient import jvp_fn_mapping
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from genseg_betty.build import count_parameters
from genseg_betty.device import peak_memory, resolve_autocast
from genseg_betty.multilevel.engine import PhasedEngine
from workload import Clock, Row, add_size, build_engine, machine, markdown, write_result

FORMS = {"get_loss": "forward", "backward": "backward", "optimizer_step": "update"}
MEANS = (1, 2, 4, 10)  # of arch_every
UNCOUNTED = 4  # steps: the first write to main memory that the system has yet to fill with zeros


class Counter(TorchDispatchMode):
    """Counts what products compute, by PyTorch's formulas, and the operands and results of all that is no view."""

    def __init__(self) -> None:
        super().__init__()
        self.flop = self.bytes = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func._overloadpacket in flop_registry:
            self.flop += flop_registry[func._overloadpacket](*args, **kwargs, out_val=result)
        if not func.is_view:
            places = {(t.data_ptr(), t.numel()): t for t in tree_leaves((args, kwargs, result)) if _is_plain(t)}
            self.bytes += sum(t.numel() * t.element_size() for t in places.values())
        return result


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


@dataclass
class Ledger:
    """What the parts of a step have taken; of nested parts each its own."""

    device: torch.device
    counting: bool = False
    rows: dict[str, Row] = field(default_factory=dict)
    _open: list[Row] = field(default_factory=list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        inner: Row = defaultdict(float)
        self._open.append(inner)
        clock, counter = Clock(self.device), Counter()
        with counter if self.counting else nullcontext():
            yield
        wall, processors = clock.read()
        self._open.pop()
        found = {"seconds": wall, "cpu_seconds": processors}
        if self.counting:
            found = {"flop": counter.flop, "bytes": counter.bytes}
        for key, value in found.items():
            self.rows[name][key] += value - inner[key]
            if self._open:
                self._open[-1][key] += value


def watch(engine: PhasedEngine, ledger: Ledger) -> None:
    """Enter each pass, update and hop of the engine's steps in the ledger."""
    for level in engine.levels:
        for method, form in FORMS.items():
            setattr(level, method, within(ledger, f"{level.name}: {form}", getattr(level, method)))
    for name, hop in list(jvp_fn_mapping.items()):
        jvp_fn_mapping[name] = watched_hop(ledger, hop)


def within(ledger: Ledger, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with ledger.part(name):
            return function(*args, **kwargs)

    return call


def watched_hop(ledger: Ledger, hop: Callable[..., Any]) -> Callable[..., Any]:
    def call(vector: Any, curr: Any, prev: Any, sync: bool) -> Any:
        with ledger.part(f"{curr.name} → {prev.name}: hop"):
            return hop(vector, curr, prev, sync)

    return call


def peaks(device: torch.device, formats: Sequence[str]) -> tuple[dict[str, float], float]:
    """Operations a second in each of these formats, and bytes a second of a copy; the best of five.

    Operations are those of a matrix product or of a convolution 3 x 3, whichever reaches more: on some processors
    PyTorch's library for the former is far from what that for the latter makes of them.
    """
    side, batch, cells = (8192, 128, 2**29) if device.type == "cuda" else (2048, 8, 2**27)
    source, target = torch.zeros(cells, device=device), torch.zeros(cells, device=device)

    def best(run: Callable[[], Any]) -> float:
        run()
        return min(_timed(run, device) for _ in range(5))

    def rate(name: str) -> float:
        dtype = getattr(torch, name)
        a, b = torch.randn(2, side, side, device=device).to(dtype)
        image, kernel = torch.randn(batch, 512, 32, 32, device=device), torch.randn(512, 512, 3, 3, device=device)
        image, kernel = image.to(dtype), kernel.to(dtype)
        convolved = 2 * image.numel() * kernel[0].numel() / best(lambda: torch.conv2d(image, kernel, padding=1))
        return max(2 * side**3 / best(lambda: a @ b), convolved)

    return {name: rate(name) for name in formats}, 8 * cells / best(lambda: target.copy_(source))


def _timed(run: Callable[[], Any], device: torch.device) -> float:
    clock = Clock(device)
    run()
    return clock.read()[0]


def measure(arguments: argparse.Namespace) -> Row:
    """Steps of both kinds after some that are not counted: their times, and of one more what its parts count."""
    arguments.arch_every = 2
    components, engine = build_engine(arguments)
    steps: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
    tables: dict[str, dict[str, Row]] = {kind: defaultdict(lambda: defaultdict(float)) for kind in steps}
    for _ in range(UNCOUNTED):
        engine.advance()
    ledger = Ledger(components.device)
    watch(engine, ledger)
    for _ in range(arguments.iterations):
        for kind, ledger.rows in tables.items():
            clock = Clock(components.device)
            engine.advance()
            steps[kind].append(clock.read())
    for row in [row for rows in tables.values() for row in rows.values()]:
        row.update({key: value / arguments.iterations for key, value in row.items()})
    memory = peak_memory(components.device)  # counting keeps more
    ledger.counting = True
    for ledger.rows in tables.values():
        engine.advance()
    low = resolve_autocast(arguments.precision, components.device) is not None
    formats = {kind: "bfloat16" if low and kind == "without" else "float32" for kind in steps}
    products, copy = peaks(components.device, sorted({*formats.values()}))
    return {
        "machine": machine(components.device),
        "device": components.device.type,
        "peak_flop": products,
        "peak_bytes": copy,
        "formats": formats,
        "parts": {kind: {name: dict(row) for name, row in rows.items()} for kind, rows in tables.items()},
        "steps": {kind: [statistics.median(column) for column in zip(*of, strict=True)] for kind, of in steps.items()},
        "peak_gib": memory / 2**30,
        "generator_parameters": count_parameters(components.generator),
        "segmenter_parameters": count_parameters(components.segmenter),
    }


def in_bfloat16(found: Row) -> bool:
    """Whether steps without the hypergradient were."""
    return found["formats"]["without"] == "bfloat16"


def parts_table(found: Row, kind: str) -> str:
    rows = found["parts"][kind]
    total = {key: sum(row[key] for row in rows.values()) for key in ("flop", "bytes", "seconds")}
    peak = found["peak_flop"][found["formats"][kind]]
    floors = {name: _floor(row, peak, found["peak_bytes"]) for name, row in rows.items()}
    lines = [_line(name, row, floors[name], peak) for name, row in rows.items()]
    lines.append(_line("**sum**", total, sum(floors.values()), peak))
    return markdown(["part", "GFLOP", "GB", "seconds", "GFLOP/s", "of the peak", "floor, s", "floor / time"], lines)


def _line(name: str, row: Row, floor: float, peak: float) -> list[str]:
    seconds = max(row["seconds"], 1e-9)
    rate = row["flop"] / seconds
    return [
        name, f"{row['flop'] / 1e9:.1f}", f"{row['bytes'] / 1e9:.2f}", f"{seconds:.3f}", f"{rate / 1e9:.0f}",
        f"{rate / peak:.0%}", f"{floor:.3f}", f"{floor / seconds:.2f}",
    ]  # fmt: skip


def _floor(part: Row, flop: float, byte: float) -> float:
    """Seconds that a part takes at one of these peaks, whichever is longer."""
    return max(part["flop"] / flop, part["bytes"] / byte)


def steps_table(found: Row) -> str:
    """Mean step for some `arch_every`: K - 1 steps without the hypergradient and one with it."""
    without, with_it = found["steps"]["without"], found["steps"]["with"]
    lines = [["none", *(f"{value:.2f}" for value in without)]]
    for every in MEANS:
        mean = [((every - 1) * plain + full) / every for plain, full in zip(without, with_it, strict=True)]
        lines.append([f"exact, arch_every={every}", *(f"{value:.2f}" for value in mean)])
    return markdown(["hypergradient", "seconds a step", "CPU-seconds a step"], lines)


def heading(arguments: argparse.Namespace, found: Row) -> str:
    products = ", ".join(f"in {name} {rate / 1e9:.0f} GFLOP/s" for name, rate in found["peak_flop"].items())
    millions = [found[f"{part}_parameters"] / 1e6 for part in ("generator", "segmenter")]
    return (
        f"One joint iteration at {arguments.size} x {arguments.size}, batch {arguments.batch}, {arguments.searched} "
        f"searched: generator {millions[0]:.1f} M, segmenter {millions[1]:.1f} M parameters; {found['machine']}, "
        f"precision {arguments.precision}.\n\n"
        f"Peak of a product {products}, of a copy {found['peak_bytes'] / 1e9:.1f} GB/s. "
        f"Peak memory {found['peak_gib']:.2f} GiB."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_size(parser)
    parser.add_argument("--iterations", type=int, default=1, help="timed steps of each kind")
    arguments = parser.parse_args()
    found = measure(arguments)
    parts = [heading(arguments, found), steps_table(found), "The step with it:", parts_table(found, "with")]
    if in_bfloat16(found):
        parts += ["The step without it:", parts_table(found, "without")]
    name = f"iteration-{found['device']}-{arguments.size}-{arguments.batch}-{arguments.searched}"
    name += ("-quick" if arguments.quick else "") + ("-bf16" if in_bfloat16(found) else "")
    write_result(name, "\n\n".join(parts), found)


if __name__ == "__main__":
    main()
