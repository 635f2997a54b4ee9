"""Everything that wants a GPU, in eight minutes: does it run there, is it right, how fast is it.

    python benchmarks/gpu.py                            on the GPU of this machine
    python benchmarks/gpu.py --device cpu --quick       the same script at small sizes, to keep it in order

The parts, one after the other; each prints what it found and keeps it in `results/gpu-<name>.md` and `.json`:

tests      the tests that need a GPU
captured   captured steps beside plain ones: the largest difference of weights after some steps
accuracy   the cosine of A's gradient to float64 on the CPU, in float32, with TF32, and as `precision=auto` has it
steps      a joint step at the sizes of the paper's authors and at 64 pixels: time, memory, with and without graphs
profile    kernels a step, the share of time in which the GPU is busy, the dearest kernels
training   a short training of the quick networks on the GPU and on the CPU: their scores

A part that fails is reported and the next one begins.
"""

import argparse
import copy
import gc
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from genseg_betty.device import peak_memory, set_float32
from genseg_betty.multilevel.engine import PhasedEngine
from rounding import to_float64
from workload import Row, add_size, build_engine, gradient_of_architecture, machine, markdown, write_result

PAPER = ["--searched", "both"]
QUICK = ["--searched", "both", "--quick", "--size", "64", "--batch", "4"]
TINY = ["--searched", "both", "--quick", "--size", "32", "--batch", "2"]
BEFORE = 6  # steps that are not timed; graphs are captured in them
PROJECT = Path(__file__).resolve().parents[1]


def build(options: argparse.Namespace, *given: str) -> PhasedEngine:
    """An engine about to make its first joint step, with the options of `workload.add_size`."""
    parser = argparse.ArgumentParser()
    add_size(parser)
    return build_engine(parser.parse_args([*given, "--device", options.device]))[1]


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def free_memory() -> None:
    """Give back what the last engine held, so that the next peak is its own."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


# -- the parts -----------------------------------------------------------------------------------------------------


def run_tests(options: argparse.Namespace) -> tuple[str, Any]:
    """The tests that need a GPU, in a process of their own."""
    files = [str(path) for path in (PROJECT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text()]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-k", options.tests, "-p", "no:cacheprovider", *files]
    path = os.pathsep.join([str(PROJECT / "tests"), str(PROJECT / "benchmarks"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240)
    print(done.stdout, flush=True)
    lines = done.stdout.strip().splitlines()
    return "\n".join(lines[-25:]), {"exit": done.returncode, "last": lines[-1] if lines else done.stderr[-500:]}


def compare_captured(options: argparse.Namespace) -> tuple[str, Any]:
    """The largest relative difference of any weight after captured and after plain steps, without atomic sums."""
    torch.backends.cudnn.deterministic = True
    bridge = ["--override", "generator=bbdm", "generator.discriminator=null"]
    cases = {"exact": [], "exact_full": ["--hypergradient", "exact_full"], "exact, bbdm": bridge}
    rows: list[Row] = []
    for name, given in cases.items():
        plain, captured = (build(options, *TINY, "--graphs", graphs, *given) for graphs in ("never", "auto"))
        for engine in (plain, captured):
            for _ in range(12):
                engine.advance()
        difference = max(relative_differences(plain, captured).values())
        replayed = captured.graphs.replayed if captured.graphs else 0
        rows.append({"case": name, "replayed": replayed, "difference": difference})
        free_memory()
    torch.backends.cudnn.deterministic = False
    lines = [[row["case"], str(row["replayed"]), f"{row['difference']:.1e}"] for row in rows]
    return markdown(["case", "replayed steps of 12", "largest relative difference"], lines), rows


def relative_differences(some: PhasedEngine, other: PhasedEngine) -> dict[str, float]:
    """‖a − b‖ / ‖a‖ of the weights of each level."""
    found = {}
    for level, its in zip(some.levels, other.levels, strict=True):
        a, b = (torch.cat([p.detach().flatten() for p in x.module.parameters()]) for x in (level, its))
        found[level.name] = float((a - b).norm() / a.norm())
    return found


def measure_accuracy(options: argparse.Namespace) -> tuple[str, Any]:
    """A's gradient at three joint steps beside float64 on the CPU, from the same state."""
    on_cpu = argparse.Namespace(device="cpu")
    given = [*TINY, "--override", "generator.dropout=0"]  # the two draw other numbers
    training = build(on_cpu, *given)
    rows: list[Row] = []
    for step in (3, 10, 40):
        while training.segmenter.count < step - 1:
            training.advance()
        state = copy.deepcopy(training.state_dict())
        exact = build(on_cpu, *given)
        exact.load_state_dict(copy.deepcopy(state))
        to_float64(exact)
        expected = gradient_of_architecture(exact)
        for precision in ("fp32", "auto"):
            set_float32(precision)
            engine = build(options, "--precision", precision, *given)
            engine.load_state_dict(copy.deepcopy(state))
            found = gradient_of_architecture(engine).cpu()
            cosine = float(torch.cosine_similarity(found, expected, dim=0))
            rows.append({"step": step, "precision": precision, "cosine": cosine})
    lines = [[str(row["step"]), row["precision"], f"{row['cosine']:.6f}"] for row in rows]
    return markdown(["joint step", "precision", "cosine to float64"], lines), rows


def time_steps(options: argparse.Namespace) -> tuple[str, Any]:
    rows = []
    for name, given in cases(options.quick):
        if not any(part in name for part in options.cases):
            continue
        try:
            rows.append({"case": name, **time_one(options, given)})
        except Exception as error:  # too little memory, say: the others are still worth having
            rows.append({"case": name, "error": f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"})
        print(rows[-1], flush=True)
        free_memory()
    return markdown(STEP_TITLES, [step_line(row) for row in rows]), rows


def cases(quick: bool) -> list[tuple[str, list[str]]]:
    """Name and options of each measurement."""
    if quick:
        return [(f"32 px, quick, {kind}", [*TINY, "--hypergradient", kind]) for kind in ("exact", "none")]
    found = []
    for graphs in ("auto", "never"):
        for kind in ("exact", "none"):
            more = ["--graphs", graphs, "--hypergradient", kind]
            found.append((f"64 px, quick, batch 4, {kind}, graphs={graphs}", [*QUICK, *more]))
            found.append((f"256 px, batch 2, {kind}, graphs={graphs}", [*PAPER, *more]))
    exact = [*PAPER, "--graphs", "auto"]
    found += [(f"256 px, batch {batch}, exact, graphs=auto", [*exact, "--batch", str(batch)]) for batch in (4, 8)]
    found += [("256 px, batch 2, exact, graphs=auto, channels first", [*exact, "--layout", "first"])]
    found += [("256 px, batch 2, exact, graphs=auto, fp32", [*exact, "--precision", "fp32"])]
    found += [("256 px, batch 8, none, graphs=auto, bf16", [*exact, "--batch", "8", "--hypergradient", "none"])]
    return found


STEP_TITLES = ["case", "ms a step", "host, ms", "GiB", "first steps, s", "5000 steps, min"]


def step_line(row: Row) -> list[str]:
    if "error" in row:
        return [row["case"], row["error"], "", "", "", ""]
    times = [f"{row['ms']:.1f}", f"{row['host_ms']:.1f}", f"{row['gib']:.1f}", f"{row['first_s']:.1f}"]
    return [row["case"], *times, f"{row['ms'] * 5000 / 60e3:.1f}"]


def time_one(options: argparse.Namespace, given: Sequence[str]) -> Row:
    return time_engine(options, build(options, *given))


def time_engine(options: argparse.Namespace, engine: PhasedEngine) -> Row:
    """Milliseconds a step by the wall and of the host, seconds of the first steps, and memory."""
    started = time.perf_counter()
    for _ in range(BEFORE):
        engine.advance()
    synchronise(options.device)
    first = time.perf_counter() - started
    count = 2 if options.quick else 15
    started = time.perf_counter()
    for _ in range(count):
        engine.advance()
    host = time.perf_counter() - started
    synchronise(options.device)
    wall = time.perf_counter() - started
    replayed = engine.graphs.replayed if engine.graphs else 0
    times = {"ms": 1000 * wall / count, "host_ms": 1000 * host / count, "first_s": first}
    return {**times, "gib": peak_memory(options.device) / 2**30, "replayed": replayed}


def profile_steps(options: argparse.Namespace) -> tuple[str, Any]:
    """What the GPU does in a joint step with the exact hypergradient."""
    full = [("256 px, batch 2", PAPER), ("64 px, quick, batch 4", QUICK)]
    given = [("32 px, quick", TINY)] if options.quick else full
    texts, rows = [], []
    for name, size in given:
        engine = build(options, *size)
        wall = time_engine(options, engine)["ms"]
        with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
            engine.advance()
            synchronise(options.device)
        row = read_profile(seen, DeviceType.CUDA if options.device == "cuda" else DeviceType.CPU)
        rows.append({"case": name, "wall_ms": wall, **row})
        busy = f"busy {row['busy_ms']:.1f} ms, {row['busy_ms'] / wall:.0%} of a step without graphs"
        heading = f"{name}: {row['kernels']} kernels, {busy}"
        lines = [[kernel[:90], f"{ms:.2f}", str(count)] for kernel, ms, count in row["dearest"]]
        texts.append(f"{heading}\n\n{markdown(['kernel', 'ms', 'calls'], lines)}")
        free_memory()
    return "\n\n".join(texts), rows


def read_profile(seen: Any, place: DeviceType) -> Row:
    on_gpu = place == DeviceType.CUDA
    kernels = [event for event in seen.key_averages() if event.device_type == place]

    def spent(event: Any) -> float:
        return (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1000

    dearest = sorted(kernels, key=spent, reverse=True)[: 25 if on_gpu else 10]
    most = sorted(kernels, key=lambda event: event.count, reverse=True)[:15]
    return {
        "kernels": sum(event.count for event in kernels),
        "busy_ms": sum(map(spent, kernels)),
        "dearest": [(event.key, spent(event), event.count) for event in dearest],
        "most": [(event.key[:90], spent(event), event.count) for event in most],
    }


def train_shortly(options: argparse.Namespace) -> tuple[str, Any]:
    """Dice of the same short training on the device and on the CPU, through the command's own entry."""
    from genseg_betty import train

    steps = 10 if options.quick else 200
    rows = []
    with TemporaryDirectory() as folder:
        for device in dict.fromkeys([options.device, "cpu"]):
            started = time.perf_counter()
            run = train(
                [
                    "dataset=phantom", "backbone=unet", "trainer=quick", "method=genseg", f"device={device}",
                    f"trainer.warmup_iterations={steps // 2}", f"trainer.iterations={steps}",
                    "trainer.finetune_iterations=5", "dataset.n_labelled=9", "dataset.n_test=20",
                    f"run_dir={folder}/{device}", "logger=csv",
                ]
            )  # fmt: skip
            results = run.read_json("results.json")
            row = {"device": device, "steps": steps, "seconds": time.perf_counter() - started}
            row["scores"] = {name: found["dice"] for name, found in results["test"].items()}
            rows.append({**row, "seconds_per_iteration": results["seconds_per_iteration"]})
    return markdown(["device", "seconds in all", "ms a step", "Dice"], [training_line(row) for row in rows]), rows


def training_line(row: Row) -> list[str]:
    scores = [f"{name} {dice:.3f}" for name, dice in row["scores"].items()]
    return [row["device"], f"{row['seconds']:.0f}", f"{1000 * row['seconds_per_iteration']:.1f}", ", ".join(scores)]


PARTS: dict[str, Callable[[argparse.Namespace], tuple[str, Any]]] = {
    "steps": time_steps,
    "profile": profile_steps,
    "tests": run_tests,
    "accuracy": measure_accuracy,
    "training": train_shortly,
    "captured": compare_captured,
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="small sizes, few steps")
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--cases", nargs="*", default=[""], help="of the steps: those with one of these in their name")
    parser.add_argument("--tests", default="", help="of the tests: those that pytest's -k chooses")
    parser.add_argument("--name", help="of the result files; the device's name unless given")
    return parser.parse_args()


def main() -> None:
    options = parse()
    device = torch.device(options.device)
    card = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    name = options.name or "-".join(["gpu", *card.lower().split(), *(["quick"] if options.quick else [])])
    texts = [f"{machine(device)}."]
    rows: Row = {"machine": machine(device)}
    for part in options.parts:
        started = time.perf_counter()
        try:
            text, rows[part] = PARTS[part](options)
        except Exception:  # the other parts are still worth having
            text, rows[part] = f"failed:\n\n```\n{traceback.format_exc()[-3000:]}\n```", {"failed": True}
        texts.append(f"## {part} ({time.perf_counter() - started:.0f} s)\n\n{text}")
        print(texts[-1], flush=True)
        write_result(name, "\n\n".join(texts), rows, show=False)


if __name__ == "__main__":
    main()
