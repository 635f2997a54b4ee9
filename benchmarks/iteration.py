"""Time and peak memory of one joint iteration (H, G, S and A each step once).

    python benchmarks/iteration.py                      the paper's size on this machine
    python benchmarks/iteration.py --size 64 --quick    small networks

Every variant runs in a process of its own, so that its peak memory is its own. The images are drawn: time and
memory do not depend on them. Prints a table and writes it to benchmarks/results/.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import torch

from genseg_betty.build import build_named, count_parameters
from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.device import peak_memory
from genseg_betty.levels.engine import GenSegEngine
from genseg_betty.methods.workshop import Workshop

RESULTS = Path(__file__).parent / "results"
VARIANTS = ("none", "exact", "exact_full", "finite_difference")


def measure(arguments: argparse.Namespace) -> dict[str, float | int | str]:
    """Iterations after one that is not counted: seconds by the wall and by the processors, peak bytes."""
    small = ["trainer=quick"] if arguments.quick else ["backbone.base_channels=64"]
    config = compose(
        [
            "backbone=unet_classic", *small, f"image_size={arguments.size}", f"device={arguments.device}",
            f"trainer.batch_size={arguments.batch}", "trainer.warmup_iterations=0",
            f"hypergradient={arguments.variant}", f"generator.searched={arguments.searched}",
            "dataset=phantom", "dataset.kind=lesion", f"dataset.channels={arguments.channels}", "ood=[]",
            f"dataset.n_labelled={5 * arguments.batch}", f"dataset.size={arguments.size}",
        ]
    )  # fmt: skip
    workshop = Workshop(config, load_data(config))
    engine = GenSegEngine(build_named(config.method).plan(workshop), workshop.device.type)
    engine.advance()
    _synchronise(workshop.device)
    wall, processors = time.perf_counter(), time.process_time()
    for _ in range(arguments.iterations):
        engine.advance()
    _synchronise(workshop.device)
    return {
        "hypergradient": arguments.variant,
        "seconds": (time.perf_counter() - wall) / arguments.iterations,
        "cpu_seconds": (time.process_time() - processors) / arguments.iterations,
        "peak_gib": peak_memory(workshop.device) / 2**30,
        "generator_parameters": count_parameters(workshop.generator),
        "segmenter_parameters": count_parameters(workshop.segmenter),
    }


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def in_a_process_of_its_own(variant: str) -> dict[str, float | int | str]:
    command = [sys.executable, __file__, *sys.argv[1:], "--variant", variant]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def table(rows: list[dict[str, float | int | str]]) -> str:
    lines = ["| hypergradient | seconds | CPU-seconds | peak memory |", "|---|---|---|---|"]
    lines += [
        f"| {row['hypergradient']} | {row['seconds']:.2f} | {row['cpu_seconds']:.2f} | {row['peak_gib']:.2f} GiB |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--channels", type=int, default=3, choices=(1, 3))
    parser.add_argument("--searched", default="both", choices=("both", "decoder", "encoder"))
    parser.add_argument("--iterations", type=int, default=1, help="counted iterations")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="the networks of trainer=quick")
    parser.add_argument("--variants", nargs="+", default=["none", "exact"], choices=VARIANTS, help="to compare")
    parser.add_argument("--variant", choices=VARIANTS, help="measure this one here, and print JSON")
    arguments = parser.parse_args()
    if arguments.variant:
        print(json.dumps(measure(arguments)))
        return
    rows = [in_a_process_of_its_own(variant) for variant in arguments.variants]
    millions = [int(rows[0][key]) / 1e6 for key in ("generator_parameters", "segmenter_parameters")]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    head = (
        f"One joint iteration at {arguments.size}², batch {arguments.batch}, {arguments.searched} searched: generator "
        f"{millions[0]:.1f} M, segmenter {millions[1]:.1f} M parameters; {device}, {platform.machine()}, "
        f"torch {torch.__version__}"
    )
    text = f"{head}\n\n{table(rows)}\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    name = f"iteration-{kind}-{arguments.size}-{arguments.searched}{'-quick' if arguments.quick else ''}.md"
    (RESULTS / name).write_text(text)


if __name__ == "__main__":
    main()
