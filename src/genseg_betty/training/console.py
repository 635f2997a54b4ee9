"""What the screen says before and after a training: what is trained on what, the scores, and where all of it lies."""

from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from genseg_betty.config.naming import OPEN
from genseg_betty.config.networks import describe_networks, describe_reduced
from genseg_betty.config.origins import OF_AUGMENT, SET, belongs, find_idle_sections
from genseg_betty.data.inspect.fingerprint import describe
from genseg_betty.data.loading import DataBundle
from genseg_betty.device import free_memory, peak_memory
from genseg_betty.generators.encoding import mask_channels
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.run import Run
from genseg_betty.terminal import harmless
from genseg_betty.training.dry_run import check_stage_one
from genseg_betty.training.memory_estimate import GIB, needed_memory, sizes


def _say(*lines: str) -> None:
    console = Console(stderr=True, highlight=False)
    for line in lines:
        console.print(harmless(line), markup=False, soft_wrap=True)


def announce(run: Run, data: DataBundle, has_generator: bool, learns_architecture: bool) -> None:
    """Before the first step."""
    config = run.config
    size = "×".join(map(str, data.preprocessing.image_size))
    tests = ", ".join(f"{name} ({len(cases)})" for name, (_, cases) in data.test.items())
    networks = " and ".join(describe_networks(config, has_generator).values())
    reduced = describe_reduced(config, has_generator)
    preset = f" (trainer={config.trainer.name})" if reduced else ""
    origins = config.get("origins") or {}
    idle = find_idle(config, has_generator, learns_architecture)
    notes = [*([reduced] if reduced else []), *idle, *data.dataset.notes, *data.splits.notes]
    if OPEN in run.path.name:
        notes.append("an earlier version gave this Run its name, without the number of labelled images; it keeps it")
    _say(
        f"{config.method.name}: {networks}{preset}, on {data.dataset.name}, {size} px, {data.num_classes} classes; "
        f"test: {tests or 'none'}; seed {config.seed}",
        f"cases: {_parts(config, data)}",
        *_indented("data:", *describe(data.fingerprint, data.settings, origins).splitlines()),
        *_indented("note:", *notes),
        f"{'continues' if run.resuming else 'run directory'}: {run.path}",
    )


def find_idle(config: DictConfig, has_generator: bool, learns_architecture: bool) -> list[str]:
    """At most one line, of keys that the user has set and that have no part in this training."""
    sections = find_idle_sections(config.method, has_generator, learns_architecture)
    without = ["generator"] if not has_generator else ["learned architecture"]
    without += ["augmentation"] if OF_AUGMENT[0] in sections else []
    origins = config.get("origins") or {}
    keys = [key for key, origin in origins.items() if origin == SET and belongs(key, sections)]
    # A hypergradient that is switched off is what a method without one does; a warm start is told when it begins.
    told = {"trainer.warm_start", *(["hypergradient"] if config.hypergradient == "none" else [])}
    idle = [key for key in keys if key not in told]
    return [f"not used, as {config.method.name} has no {' and no '.join(without)}: {', '.join(idle)}"] if idle else []


def unused(data: DataBundle) -> list[str]:
    """The ids of the labelled cases that a training neither learns from nor tests on."""
    splits = data.splits
    used = {*splits.train, *splits.validation, *splits.test}
    return [case.id for case in data.dataset.cases if case.id not in used]


def _parts(config: DictConfig, data: DataBundle) -> str:
    """How the labelled cases are used, and which keys leave some of them out."""
    splits, idle = data.splits, len(unused(data))
    drawn = len(splits.train) + len(splits.validation)
    parts = [f"{len(splits.train)} train", f"{len(splits.validation)} validation", f"{len(splits.test)} test"]
    keys = []
    if splits.pool > drawn:
        keys.append(f"dataset.n_labelled={drawn}; all: dataset.n_labelled={splits.pool}")
    if idle > splits.pool - drawn and config.dataset.n_test is not None:
        keys.append(f"dataset.n_test={config.dataset.n_test}")
    if idle:
        parts.append(f"{idle} unused" + (f" ({'; '.join(keys)})" if keys else ""))
    return f"{len(data.dataset.cases)} labelled cases: {', '.join(parts)}"


def introduce(engine: PhasedEngine, data: DataBundle, batch_size: int) -> None:
    """The size of each network, and whether they fit each other and the memory. Raises UserError where they do not."""
    preprocessing = data.preprocessing
    side = preprocessing.image_size
    channels = preprocessing.channels, mask_channels(data.num_classes)
    image, condition = ((batch_size, count, *side) for count in channels)
    found = sizes(engine, image, condition)
    untold = [level for level in engine.levels if level.name in found and found[level.name].of_step is None]
    check_stage_one(untold, image, condition)
    width = max(map(len, found))
    _say(*_indented("nets:", *(f"{name:{width}}  {size}" for name, size in found.items())))
    needed, free = needed_memory(engine, found), free_memory(engine.device)
    peak = (needed + peak_memory(engine.device)) / GIB
    _say(
        f"       (one pass of a batch of {batch_size})",
        f"memory: about {peak:.1f} GiB at its peak; {free / GIB:.1f} GiB are free",
    )
    if needed > free:
        keys = ["trainer.batch_size", "image_size", "backbone.base_channels"]
        if "generator" in found:
            keys += ["generator.base_channels", "generator.searched=decoder"]
        if engine.plan.hypergradient != "none":
            keys.append("hypergradient=none")
        _say(f"warning: this training may run out of memory. What makes it smaller: {', '.join(keys)}")


def tell_origin(run: str, steps: int) -> None:
    """Of a training that begins from the generator of another Run."""
    _say(f"warm:  begins from the generator that {run} warmed up: its {steps} steps are not made again")


def tell_unused(run: str, method: str) -> None:
    """Of a method without a generator, which may stand in one sweep with those that have one."""
    _say(f"note:  trainer.warm_start={run} is not used: {method} has no generator")


def _indented(title: str, *lines: str) -> list[str]:
    return [f"{title if index == 0 else '':7}{line}" for index, line in enumerate(lines)]


def conclude(run: Run, results: dict[str, Any]) -> None:
    """After the last step."""
    scores = [
        f"  {name}: Dice {found['dice']:.3f}, Jaccard {found['jaccard']:.3f} ({found['cases']} cases)"
        for name, found in results["test"].items()
    ]
    told = ["test scores, at the size of each case's own mask:", *scores]
    if not scores:
        untrained = "trainer.iterations=0 trains no segmenter"
        told = [f"no test scores: {'there are no test images' if results['iterations'] else untrained}"]
    skipped = [f"{count} of {level}" for level, count in results["skipped"].items() if count]
    if skipped:
        told.append(f"steps not made, as a loss or gradient was not finite: {', '.join(skipped)}")
    _say(*told, f"report: {run.path / 'report.html'}")


def nothing_to_do(run: Run) -> None:
    """For a Run that has had all its iterations."""
    _say(
        f"{run.path} is finished. More steps: the same command with run_dir={run.path} and trainer.iterations=… "
        f"beyond {run.config.trainer.iterations}; from the start: resume=restart."
    )
