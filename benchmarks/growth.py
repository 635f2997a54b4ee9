"""How time and memory of a joint step grow, and how many images a second a trained segmenter takes.

    python benchmarks/growth.py

From one point (small networks, 64 x 64 pixels, batch 2, the exact hypergradient at every step) one thing varies at a
time: image size, batch, arch_every, operations a cell, levels of the generator, and threads or trainings side by side.
Strong growth is one training on more threads, weak growth more trainings on a thread each. Every measurement runs in a
fork of its own; the memory includes 0.6 to 0.8 GiB of the libraries. Inference is the Predictor, from an array to a
mask at the image's size, beside the bare network on a tensor that is ready.
"""

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np
import torch

from genseg_betty.device import peak_memory
from genseg_betty.inference.predictor import Predictor
from workload import Clock, Row, add_size, build_engine, forked, machine, markdown, warm_imports, write_result

CURVES: dict[str, tuple[str, Sequence[Any]]] = {
    "image side": ("size", (64, 96, 128, 192)),
    "batch": ("batch", (2, 4, 8)),
    "arch_every": ("arch_every", (1, 2, 4, 8)),
    "operations a cell": ("kernels", ("[4,6]", "[4,6,8]", "[4,6,8,10]")),
    "levels of the generator": ("depth", (3, 4, 5, 6)),
}
IMAGES = 20  # of a round of inference


def with_option(arguments: argparse.Namespace, option: str, value: Any) -> argparse.Namespace:
    changed = argparse.Namespace(**vars(arguments))
    if option in vars(changed):
        setattr(changed, option, value)
    else:
        changed.override = [*arguments.override, f"generator.{option}={value}"]
    return changed


def step_cost(arguments: argparse.Namespace, threads: int | None = None) -> Row:
    """Seconds a step (the median of `iterations` whole cycles of arch_every, after one with A) and the peak memory."""
    if threads:
        torch.set_num_threads(threads)
    components, engine = build_engine(arguments)
    cycle: int = arguments.arch_every
    taken = []
    if cycle == 1:  # A rests in the first step
        engine.advance()
    for _ in range(1 + arguments.iterations):
        clock = Clock(components.device)
        for _ in range(cycle):
            engine.advance()
        taken.append(clock.read()[0] / cycle)
    return {"seconds": median(taken[1:]), "peak_gib": peak_memory(components.device) / 2**30}


def curves(arguments: argparse.Namespace) -> list[Row]:
    rows = []
    for title, (option, values) in CURVES.items():
        for value in values:
            cost = forked(step_cost, with_option(arguments, option, value))
            rows.append({"varies": title, "value": str(value).strip("[]"), **cost})
    return rows


def side_by_side(arguments: argparse.Namespace) -> list[Row]:
    """Strong and weak growth over the processors."""
    rows = []
    counts = [2**power for power in range((os.cpu_count() or 1).bit_length()) if 2**power <= (os.cpu_count() or 1)]
    for count in counts:
        rows.append({"varies": "threads of one training", "value": count, **forked(step_cost, arguments, count)})
    for count in counts:
        with ProcessPoolExecutor(count, get_context("fork")) as pool:
            costs = [task.result() for task in [pool.submit(step_cost, arguments, 1) for _ in range(count)]]
        mean = {key: sum(cost[key] for cost in costs) / count for key in costs[0]}
        rows.append({"varies": "trainings side by side, a thread each", "value": count, **mean})
    return rows


def inference(arguments: argparse.Namespace, size: int) -> Row:
    """Images a second, the best of three rounds that alternate, one image at a time."""
    components, _ = build_engine(with_option(arguments, "size", size))
    predictor = Predictor(components.segmenter, components.data.preprocessing, components.device)
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    ready = components.data.preprocessing.image(image.astype(np.float32))[None].to(components.device)

    @torch.inference_mode()
    def bare() -> None:
        predictor.network(ready)

    rates: dict[str, float] = {}
    for _ in range(3):
        for name, run in (("predictor", lambda: predictor(image)), ("bare", bare)):
            clock = Clock(components.device)
            for _ in range(IMAGES):
                run()
            rates[name] = max(rates.get(name, 0.0), IMAGES / clock.read()[0])
    return {"size": size, **rates}


def tables(rows: Sequence[Row], predicted: Sequence[Row]) -> str:
    lines = [[r["varies"], str(r["value"]), f"{r['seconds']:.3f}", f"{r['peak_gib']:.2f}"] for r in rows]
    images = [
        [str(r["size"]), f"{r['predictor']:.1f}", f"{r['bare']:.1f}", f"{r['predictor'] / r['bare']:.2f}"]
        for r in predicted
    ]
    return (
        markdown(["what varies", "its value", "seconds a step", "peak GiB"], lines)
        + "\n\n"
        + markdown(["image side", "images a second", "bare network", "ratio"], images)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_size(parser)
    parser.add_argument("--iterations", type=int, default=2, help="counted cycles of a point")
    parser.set_defaults(size=64, quick=True)
    arguments = parser.parse_args()
    warm_imports()
    rows = [*curves(arguments), *side_by_side(arguments)]
    predicted = [forked(inference, arguments, size) for size in (64, 256)]
    device = torch.device("cuda" if torch.cuda.is_available() and arguments.device != "cpu" else "cpu")
    write_result(f"growth-{device.type}", f"{machine(device)}.\n\n{tables(rows, predicted)}", [rows, predicted])


if __name__ == "__main__":
    main()
