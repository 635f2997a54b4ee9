"""What the screen says before and after a training: what is trained on what, the scores, and where all of it lies."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from genseg_betty.config.naming import OPEN
from genseg_betty.config.networks import describe_networks, describe_reduced
from genseg_betty.config.origins import OF_AUGMENT, SET, find_idle_sections, lies_in
from genseg_betty.data.inspect.fingerprint_text import describe_fingerprint
from genseg_betty.data.loading import DataBundle
from genseg_betty.device import free_memory, peak_memory, resolve_device, write_gib
from genseg_betty.generators.encoding import mask_channels
from genseg_betty.levels.stage import select_stages
from genseg_betty.metrics.scores import describe_scores
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.run import Run
from genseg_betty.run.names import DICE, GENERATOR, JACCARD
from genseg_betty.terminal import harmless
from genseg_betty.training.dry_run import check_stage_one
from genseg_betty.training.memory_estimate import NetworkSize, estimate_memory, measure_networks
from genseg_betty.training.several_processes import describe_processes


def announce_run(
    run: Run, data: DataBundle, has_generator: bool, learns_architecture: bool, trains_backbone: bool = True
) -> None:
    """Before the first step: what is trained on what, how the cases are used, and where the Run lies."""
    config = run.config
    reduced = describe_reduced(config, has_generator) if trains_backbone else None
    origins = config.get("origins") or {}
    notes = [reduced] if reduced else []
    notes += describe_processes(data.settings.batch_size, resolve_device(config.device))
    notes += find_idle_keys(config, has_generator, learns_architecture)
    notes += [*data.dataset.notes, *data.splits.notes]
    if OPEN in run.path.name:
        notes.append("an earlier version gave this Run its name, without the number of labelled images; it keeps it")
    described = describe_fingerprint(data.fingerprint, data.settings, origins).splitlines()
    state = "continues" if run.resuming else "run directory"
    _print_lines(
        _describe_training(config, data, has_generator, trains_backbone),
        f"cases: {_describe_cases(config, data)}",
        *_indent_lines("data:", described),
        *_indent_lines("note:", notes),
        f"{state}: {run.path}",
    )


def find_idle_keys(config: DictConfig, has_generator: bool, learns_architecture: bool) -> list[str]:
    """At most one line, of keys that the user has set and that have no part in this training."""
    sections = find_idle_sections(config.method, has_generator, learns_architecture)
    missing = ["learned architecture"] if has_generator else ["generator"]
    if OF_AUGMENT[0] in sections:
        missing.append("augmentation")

    # A hypergradient that is switched off is what a method without one does; a warm start is told when it begins.
    told = {"trainer.warm_start"}
    if config.hypergradient == "none":
        told.add("hypergradient")
    idle = []
    for key, origin in (config.get("origins") or {}).items():
        if origin == SET and key not in told and lies_in(key, sections):
            idle.append(key)
    if not idle:
        return []
    parts, keys = " and no ".join(missing), ", ".join(idle)
    return [f"not used, as {config.method.name} has no {parts}: {keys}"]


def find_unused_cases(data: DataBundle) -> list[str]:
    """The ids of the labelled cases that a training neither learns from, masks or no masks, nor tests on."""
    splits = data.splits
    used = {*splits.train, *splits.validation, *splits.test, *splits.unlabelled}
    return [case.id for case in data.dataset.cases if case.id not in used]


def report_networks(engine: PhasedEngine, data: DataBundle, batch_size: int) -> None:
    """Tell the size of each network and the memory needed. Raises UserError where networks do not fit each other."""
    preprocessing = data.preprocessing
    side = preprocessing.image_size
    image = (batch_size, preprocessing.channels, *side)
    condition = (batch_size, mask_channels(data.num_classes), *side)
    sizes = measure_networks(engine, image, condition)
    unmeasured = []
    for level in select_stages(engine.levels):
        if level.name in sizes and sizes[level.name].of_step is None:
            unmeasured.append(level)
    check_stage_one(unmeasured, image, condition)

    width = max(map(len, sizes))
    lines = [f"{name:{width}}  {size}" for name, size in sizes.items()]
    _print_lines(*_indent_lines("nets:", lines))
    needed = estimate_memory(engine, sizes)
    free = free_memory(engine.device)
    peak = needed + peak_memory(engine.device)
    _print_lines(
        f"       (one pass of a batch of {batch_size})",
        f"memory: about {write_gib(peak)} at its peak; {write_gib(free)} are free",
    )
    if needed > free:
        _warn_of_memory(engine, sizes)


def tell_origin(run: str, steps: int) -> None:
    """Of a training that begins from the generator of another Run."""
    _print_lines(f"warm:  begins from the generator that {run} warmed up: its {steps} steps are not made again")


def tell_unused(run: str, method: str) -> None:
    """Of a method without a generator, which may stand in one sweep with those that have one."""
    _print_lines(f"note:  trainer.warm_start={run} is not used: {method} has no generator")


def report_results(run: Run, results: dict[str, Any]) -> None:
    """After the last step: the test scores, the steps that were not made, and the report."""
    lines = []
    for name, found in results["test"].items():
        scores = f"Dice {found[DICE]:.3f}, Jaccard {found[JACCARD]:.3f}"
        lines.append(f"  {name}: {scores} ({found['cases']} cases)")
        lines += [f"    {line}" for line in describe_scores(found)]
    if lines:
        lines.insert(0, "test scores, at the size of each case's own mask:")
    elif results["iterations"]:
        lines.append("no test scores: there are no test images")
    else:
        lines.append("no test scores: trainer.iterations=0 trains no segmenter")
    skipped = [f"{count} of {level}" for level, count in results["skipped"].items() if count]
    if skipped:
        lines.append(f"steps not made, as a loss or gradient was not finite: {', '.join(skipped)}")
    _print_lines(*lines, f"report: {run.path / 'report.html'}")


def tell_finished(run: Run) -> None:
    """For a Run that has had all its iterations."""
    _print_lines(
        f"{run.path} is finished. More steps: the same command with run_dir={run.path} and trainer.iterations=… "
        f"beyond {run.config.trainer.iterations}; from the start: resume=restart."
    )


def _describe_training(config: DictConfig, data: DataBundle, has_generator: bool, trains_backbone: bool) -> str:
    """Method, networks, data and seed, in one line."""
    networks = " and ".join(describe_networks(config, has_generator).values())
    preset = f" (trainer={config.trainer.name})" if describe_reduced(config, has_generator) else ""
    if not trains_backbone:
        networks, preset = "a network, augmentation and training of its own", ""
    size = "×".join(map(str, data.preprocessing.image_size))
    tests = []
    for name, (_, cases) in data.test.items():
        tests.append(f"{name} ({len(cases)})")
    listed = ", ".join(tests) or "none"
    return (
        f"{config.method.name}: {networks}{preset}, on {data.dataset.name}, {size} px, {data.num_classes} classes; "
        f"test: {listed}; seed {config.seed}"
    )


def _describe_cases(config: DictConfig, data: DataBundle) -> str:
    """How the labelled cases are used, and which keys leave some of them out."""
    splits = data.splits
    unused = len(find_unused_cases(data))
    drawn = len(splits.train) + len(splits.validation)
    undrawn = splits.pool - drawn - len(splits.unlabelled)  # fewer where those come from a folder
    parts = [
        f"{len(splits.train)} train",
        f"{len(splits.validation)} validation",
        f"{len(splits.test)} test",
    ]
    keys = []
    if undrawn > 0:
        keys.append(f"dataset.n_labelled={drawn}; all: dataset.n_labelled={splits.pool}")
    if unused > undrawn and config.dataset.n_test is not None:
        keys.append(f"dataset.n_test={config.dataset.n_test}")
    if data.unlabelled is not None:
        parts.append(f"{len(splits.unlabelled)} {_describe_unlabelled(config)}")
    if unused:
        reasons = f" ({'; '.join(keys)})" if keys else ""
        parts.append(f"{unused} unused{reasons}")
    return f"{len(data.dataset.cases)} labelled cases: {', '.join(parts)}"


def _describe_unlabelled(config: DictConfig) -> str:
    """Where the images come from that are seen without their masks."""
    folder = config.get("unlabelled")
    if isinstance(folder, str):
        return f"without masks (unlabelled={folder})"
    return "seen without their masks"


def _warn_of_memory(engine: PhasedEngine, sizes: dict[str, NetworkSize]) -> None:
    keys = ["trainer.batch_size", "image_size", "backbone.base_channels"]
    if GENERATOR in sizes:
        keys += ["generator.base_channels", "generator.searched=decoder"]
    if engine.plan.hypergradient != "none":
        keys.append("hypergradient=none")
    _print_lines(f"warning: this training may run out of memory. What makes it smaller: {', '.join(keys)}")


def _indent_lines(title: str, lines: Sequence[str]) -> list[str]:
    """The lines with `title` before the first one, and a space as wide before the others."""
    indented = []
    for index, line in enumerate(lines):
        start = title if index == 0 else ""
        indented.append(f"{start:7}{line}")
    return indented


def _print_lines(*lines: str) -> None:
    console = Console(stderr=True, highlight=False)
    for line in lines:
        console.print(harmless(line), markup=False, soft_wrap=True)
