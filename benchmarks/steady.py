"""Whether steps wait for data, and whether memory stays flat: 1000 joint steps of a small training, A at every fourth.

    python benchmarks/steady.py                 1000 steps at 32 x 32 pixels
    python benchmarks/steady.py --steps 200

Waiting is the time within `get_batch` of all levels: the few-shot set lies on the device, and a batch is a selection of
its rows. Memory is what the process (on a GPU: torch) holds after so many steps, read ten times.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from genseg_betty.multilevel.engine import PhasedEngine
from workload import Clock, Row, add_size, build_engine, machine, markdown, write_result

READINGS = 10


def held(device: torch.device) -> int:
    """Bytes that are held at this moment."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def time_batches(engine: PhasedEngine) -> list[float]:
    """The list to which every batch from now on adds its seconds."""
    seconds: list[float] = []

    def timed(get: Callable[[], Any]) -> Callable[[], Any]:
        def get_batch() -> Any:
            start = time.perf_counter()
            batch = get()
            seconds.append(time.perf_counter() - start)
            return batch

        return get_batch

    for level in engine.levels:
        level.get_batch = timed(level.get_batch)  # type: ignore[method-assign]
    return seconds


def measure(arguments: argparse.Namespace) -> Row:
    tiny = ["backbone.base_channels=8", "generator.base_channels=8", "generator.max_channels=16"]
    arguments.override = [*tiny, *arguments.override, f"trainer.iterations={2 * arguments.steps}"]
    components, engine = build_engine(arguments)
    waiting = time_batches(engine)
    readings: list[tuple[int, float]] = []
    clock = Clock(components.device)
    for step in range(1, arguments.steps + 1):
        engine.advance()
        if step % (arguments.steps // READINGS) == 0:
            readings.append((step, held(components.device) / 2**20))
    seconds, _ = clock.read()
    return {
        "machine": machine(components.device),
        "device": components.device.type,
        "steps": arguments.steps,
        "seconds": seconds,
        "batches": len(waiting),
        "waiting": sum(waiting),
        "mib": readings,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_size(parser)
    parser.add_argument("--steps", type=int, default=1000)
    parser.set_defaults(size=32, quick=True, arch_every=4)
    found = measure(parser.parse_args())
    first, last = found["mib"][0][1], found["mib"][-1][1]
    share = found["waiting"] / found["seconds"]
    text = (
        f"{found['steps']} joint steps in {found['seconds']:.1f} s; {found['machine']}. Of that {found['waiting']:.2f} "
        f"s, {share:.1%}, went into {found['batches']} batches. Memory from the first reading to the last: "
        f"{last - first:+.1f} MiB.\n\n"
    )
    text += markdown(["after step", "MiB held"], [[str(step), f"{mib:.1f}"] for step, mib in found["mib"]])
    write_result(f"steady-{found['device']}", text, found)


if __name__ == "__main__":
    main()
