"""What the screen says before and after a training: what is trained on what, the scores, and where all of it lies."""

from typing import Any

from rich.console import Console

from genseg_betty.data.fingerprint import describe
from genseg_betty.data.loading import DataBundle, settings
from genseg_betty.device import free_memory, peak_memory
from genseg_betty.generators.encoding import mask_channels
from genseg_betty.levels.engine import GenSegEngine
from genseg_betty.methods.rehearsal import check_stage_one
from genseg_betty.methods.summary import GIB, needed_memory, sizes
from genseg_betty.run import Run
from genseg_betty.terminal import harmless


def _say(*lines: str) -> None:
    console = Console(stderr=True, highlight=False)
    for line in lines:
        console.print(harmless(line), markup=False, soft_wrap=True)


def announce(run: Run, data: DataBundle) -> None:
    """Before the first step."""
    config, splits = run.config, data.splits
    size = "×".join(map(str, data.preprocessing.image_size))
    tests = ", ".join(f"{name} ({len(cases)})" for name, (_, cases) in data.test.items())
    labelled = len(splits.train) + len(splits.validation)
    _say(
        f"{config.method.name}: {config.backbone.name} on {labelled} images of {data.dataset.name} "
        f"({len(splits.train)} train, {len(splits.validation)} validation), {size} px, "
        f"{data.num_classes} classes; test: {tests or 'none'}; seed {config.seed}",
        *_indented("data:", *describe(data.fingerprint, settings(config, data)).splitlines()),
        *_indented("note:", *data.dataset.notes, *splits.notes),
        f"{'continues' if run.resuming else 'run directory'}: {run.path}",
    )


def introduce(engine: GenSegEngine, data: DataBundle, batch_size: int) -> None:
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
        _say(
            "warning: this training may run out of memory. What makes it smaller: trainer.batch_size, image_size, "
            "generator.base_channels, backbone.base_channels, generator.searched=decoder, hypergradient=none"
        )


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
    told = ["test scores, at the size of each case's own mask:", *scores] if scores else ["nothing was tested on"]
    _say(*told, f"report: {run.path / 'report.html'}")


def nothing_to_do(run: Run) -> None:
    """For a Run that has had all its iterations."""
    _say(
        f"{run.path} is finished. More steps: the same command with run_dir={run.path} and trainer.iterations=… "
        f"beyond {run.config.trainer.iterations}; from the start: resume=restart."
    )
