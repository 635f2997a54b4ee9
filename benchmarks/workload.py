"""What the benchmarks share: one joint step at a size, a process of its own for each measurement, tables in files."""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genseg_betty.build import build_named
from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.device import set_float32
from genseg_betty.memory import reuse_freed
from genseg_betty.multilevel.engine import PhasedEngine, find_backend
from genseg_betty.training.components import Components

RESULTS = Path(__file__).parent / "results"

Row = dict[str, Any]


def add_size(parser: argparse.ArgumentParser) -> None:
    """The arguments that `build_engine` reads; by default the sizes of the paper's authors."""
    parser.add_argument("--size", type=int, default=256, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--searched", default="decoder", choices=("both", "decoder", "encoder"))
    parser.add_argument("--quick", action="store_true", help="the networks of trainer=quick")
    kinds = ("exact", "exact_full", "finite_difference", "none")
    parser.add_argument("--hypergradient", default="exact", choices=kinds)
    parser.add_argument("--arch-every", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--layout", default="auto", choices=("auto", "first", "last"), help="of channels in weights")
    parser.add_argument("--graphs", default="never", choices=("auto", "never"))
    parser.add_argument("--override", nargs="*", default=[], help="further overrides of the config")


def build_engine(arguments: argparse.Namespace) -> tuple[Components, PhasedEngine]:
    """Networks and levels of GenSeg, about to make their first joint step, on drawn images.

    Time and memory do not depend on what the images show.
    """
    small = ["trainer=quick"] if arguments.quick else ["backbone.base_channels=64"]
    config = compose(
        [
            "backbone=unet_classic", *small, f"image_size={arguments.size}", f"device={arguments.device}",
            f"precision={arguments.precision}", f"trainer.batch_size={arguments.batch}",
            "trainer.warmup_iterations=0", f"hypergradient={arguments.hypergradient}",
            f"arch_every={arguments.arch_every}", f"graphs={arguments.graphs}",
            f"generator.searched={arguments.searched}", "dataset=phantom", "dataset.kind=lesion", "augment=paper",
            "dataset.channels=3", "ood=[]",
            f"dataset.n_labelled={5 * arguments.batch}", f"dataset.size={arguments.size}", *arguments.override,
        ]
    )  # fmt: skip
    set_float32(arguments.precision)
    reuse_freed()
    components = Components(config, load_data(config))
    formats = {"first": torch.contiguous_format, "last": torch.channels_last}
    components.memory_format = formats.get(arguments.layout, components.memory_format)
    backend = find_backend(arguments.graphs, components.device)
    plan = build_named(config.method).plan(components)
    return components, PhasedEngine(plan, components.device.type, backend=backend)


def gradient_of_architecture(engine: PhasedEngine) -> Tensor:
    """∇_A of the engine's next step, right before A's optimizer sees it, in float64."""
    parameters = engine.architecture.trainable_parameters()
    seen: list[Tensor] = []
    engine.architecture.grad_callback = lambda: seen.append(torch.cat([p.grad.flatten() for p in parameters]))
    engine.advance()
    return seen[-1].double()


def warm_imports() -> None:
    """Import what is otherwise imported at its first use, in every fork anew."""
    for name in ("monai.losses", "torch._dynamo"):
        import_module(name)


class Clock:
    """Seconds by the wall and by the processors since it was made."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._synchronise()
        self._wall, self._processors = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        self._synchronise()
        return time.perf_counter() - self._wall, time.process_time() - self._processors

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def in_a_process_of_its_own(script: str, *arguments: str) -> Row:
    """What `script` prints as JSON with these arguments: its peak memory is its own."""
    command = [sys.executable, script, *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def forked(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns in a fork of this process, with its imports; safe while torch has no threads here."""
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        return pool.submit(function, *arguments).result()


def machine(device: torch.device | None = None) -> str:
    """Where it ran, in words."""
    on_gpu = torch.cuda.is_available() if device is None else device.type == "cuda"
    where = torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} CPU threads, {platform.machine()}"
    return f"{where}, torch {torch.__version__}"


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_result(name: str, text: str, rows: Any, show: bool = True) -> None:
    """Keep `text` as results/<name>.md, its numbers as results/<name>.json, and print it if it is to be shown."""
    if show:
        print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text.rstrip() + "\n")
    (RESULTS / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")
