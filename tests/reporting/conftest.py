"""Real trainings, and longer Runs made after them: with the names, keys and files that a training itself writes.

A long Run takes milliseconds, for only its numbers are made up. Each value stands where a real Run of that method has
one; a metric or a key that no training writes is a KeyError here.
"""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from genseg_betty import train
from genseg_betty.reporting.metric_rows import MetricRows
from genseg_betty.run import Run
from genseg_betty.run.names import (
    ARCHITECTURE,
    ARCHITECTURE_PHASE,
    CONSTANT,
    DICE,
    DISCRIMINATOR,
    GENERATOR,
    GRADIENT_NORM,
    JACCARD,
    JOINT_PHASE,
    LOSS,
    MEMORY_BYTES,
    SCORES,
    SECONDS,
    SEGMENTATION_PHASE,
    SEGMENTER,
    SKIPPED_PREFIX,
    SYSTEM_PHASE,
    VALIDATION_PHASE,
    WARMUP_PHASE,
    AlphaName,
)
from methods.tiny import TINY

WARMUP, JOINT = 150, 300
SKIPPED_STEPS = 2
SLOPES = {"421": -1.0, "622": 0.2, "823": 1.0}
"""Of the logit of each operation, over the steps."""
DATASET = {
    "name": "nlm_sz", "title": "NLM-SZ, Shenzhen chest X-ray", "metric": "dice", "n_labelled": 9,
    "root": "/data/nlm_sz", "about": {"licence": "public"},
}  # fmt: skip


@pytest.fixture(scope="session")
def real_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A Run of each kind of method as the training itself leaves it: the smallest networks, a few steps."""
    folder = tmp_path_factory.mktemp("real")
    steps = ["trainer.iterations=3", "trainer.warmup_iterations=10", "trainer.finetune_iterations=1"]
    often = ["trainer.validate_every=2", "trainer=quick", "ood=[]"]
    found = {}
    for method in ("vanilla", "separate", "genseg"):
        found[method] = folder / method
        train([*TINY, *steps, *often, f"method={method}", f"run_dir={found[method]}"])
    return found


@dataclass(frozen=True)
class Example:
    """A real Run, read once: what a training of its method writes."""

    config: dict[str, Any]
    metrics: MetricRows
    splits: dict[str, Any]
    fingerprint: dict[str, Any]
    results: dict[str, Any]
    checkpoints: dict[str, dict[str, Any]]
    picture: Path
    """The segmenter on the validation images, of the last step."""

    @classmethod
    def read(cls, path: Path) -> "Example":
        run = Run.open(path)
        names = [file.stem for file in sorted((path / "checkpoints").glob("*.pt"))]
        config = OmegaConf.to_container(run.config)
        assert isinstance(config, dict)
        return cls(
            config=config,
            metrics=MetricRows(run.metrics()),
            splits=run.read_splits(),
            fingerprint=run.read_json("fingerprint.json"),
            results=run.read_results(),
            checkpoints={name: run.load_checkpoint(name) or {} for name in names},
            picture=sorted((path / "samples").glob("validation-*.png"))[-1],
        )


@pytest.fixture(scope="session")
def examples(real_runs: dict[str, Path]) -> dict[str, Example]:
    return {method: Example.read(path) for method, path in real_runs.items()}


@pytest.fixture
def make_run(examples: dict[str, Example], tmp_path: Path) -> Callable[..., Path]:
    def make(method: str = "genseg", seed: int = 0, gain: float = 0.0, name: str = "", **changes: Any) -> Path:
        path = tmp_path / (name or f"{method}-s{seed}")
        write_finished_run(examples[method], path, seed, gain, **changes)
        return path

    return make


def write_finished_run(example: Example, path: Path, seed: int, gain: float, **changes: Any) -> None:
    """A finished Run with two test sets; `gain` is added to every Dice, `changes` are sections of the config."""
    random = np.random.default_rng([seed, len(example.results["method"])])
    trainer = {**example.config["trainer"], "iterations": JOINT, "warmup_iterations": WARMUP}
    config = replace_values(example.config, {"seed": seed, "name": None, "dataset": DATASET, "trainer": trainer})
    with Run.start(path, config | changes) as run:
        run.status("running", message="training")
        run.write_json("splits.json", example.splits)
        run.write_json("fingerprint.json", example.fingerprint)
        log_training(run, example.metrics, random)
        for step in (300, WARMUP + JOINT):
            shutil.copyfile(example.picture, run.samples_dir / f"validation-{step:06d}.png")
        for name, state in example.checkpoints.items():
            run.save_checkpoint(name, state)
        tests = write_tests(run, example, gain, random)
        run.write_json("results.json", imagine_results(example.results, run.path.name, seed, tests))
        run.status("finished", step=WARMUP + JOINT, message="done")


def log_training(run: Run, real: MetricRows, random: np.random.Generator) -> None:
    """The rows of a longer training than the real one: losses every 10 steps, all else every 20."""
    for step in range(10, WARMUP + JOINT + 1, 10):
        noise = random.normal(0, 0.05, 4).tolist()
        phases = [WARMUP_PHASE]
        if step > WARMUP:
            phases = [JOINT_PHASE, SEGMENTATION_PHASE]
            if step % 20 == 0:
                phases += [VALIDATION_PHASE, ARCHITECTURE_PHASE, SYSTEM_PHASE]
        for phase in phases:
            names = real.find_names(phase)
            if names:
                run.log(step, phase, {name: imagine_value(phase, name, step, noise) for name in names})


def imagine_value(phase: str, name: str, step: int, noise: list[float]) -> float:
    """What a metric may be at a step. Raises KeyError for one that is not known here."""
    alpha = AlphaName.parse_metric(name)
    if alpha is not None:
        return imagine_alpha(alpha, step - WARMUP)
    if phase == SYSTEM_PHASE and name.startswith(SKIPPED_PREFIX):
        return float(SKIPPED_STEPS) if name.endswith(GENERATOR) else 0.0
    dice = 0.93 - 0.4 * math.exp(-(step - WARMUP) / 60) + 0.1 * noise[0]
    measured = {
        VALIDATION_PHASE: {DICE: dice, JACCARD: dice / (2 - dice), LOSS: 1 - dice},
        SYSTEM_PHASE: {SECONDS: step * 0.31, MEMORY_BYTES: 5e8},
        ARCHITECTURE_PHASE: {GRADIENT_NORM: 1e-4 * 10 ** (20 * noise[1])},
    }
    losses = {
        DISCRIMINATOR: 0.7 + noise[1],
        GENERATOR: 40 * math.exp(-step / 120) + 12 + 10 * noise[0],
        SEGMENTER: math.exp(-step / 200) + noise[2],
        ARCHITECTURE: 0.4 + noise[3],
    }
    return measured.get(phase, losses)[name]


def imagine_alpha(alpha: AlphaName, step: int) -> float:
    """The α of one operation, of three that add up to 1."""
    time = step / 200 * math.cos(1.3 * int(alpha.cell) + (alpha.half == "up"))
    weights = {operation: math.exp(slope * time) for operation, slope in SLOPES.items()}
    return weights[alpha.operation.rpartition("_")[2]] / sum(weights.values())


def write_tests(run: Run, example: Example, gain: float, random: np.random.Generator) -> dict[str, dict[str, Any]]:
    """A table of cases for each of two test sets; their means, as results.json has them."""
    [real] = example.results["test"].values()
    tests = {}
    for name, centre, count in (("nlm_mc", 0.80, 138), ("nlm_sz", 0.91, 166)):
        dice = np.clip(centre + gain + random.normal(0, 0.01) - random.gamma(1.5, 0.025, count), 0, 1)
        rows = [{"id": f"{name}_{i:03}", DICE: d, JACCARD: d / (2 - d)} for i, d in enumerate(dice.tolist())]
        run.write_test(name, rows)
        means = {score: float(np.mean([row[score] for row in rows])) for score in SCORES}
        tests[name] = replace_values(real, {**means, "cases": count})
        tests[name].pop(CONSTANT, None)  # what a few steps leave
    return tests


def imagine_results(real: dict[str, Any], name: str, seed: int, tests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The real results with the numbers of a longer training on another dataset."""
    has_generator = real["generator"] is not None
    values = {
        "name": name, "dataset": "nlm_sz", "seed": seed, "n_labelled": 9, "n_train": 7, "n_validation": 2,
        "n_unused": 0, "iterations": JOINT, "warmup_iterations": WARMUP if has_generator else 0, "seconds": 141.5,
        "seconds_per_iteration": 0.31, "peak_memory_bytes": 612_000_000, "device": "cpu, 2 threads", "test": tests,
        "validation": replace_values(real["validation"], {"best": 0.93, "step": 440}),
        "versions": replace_values(real["versions"], {"torch": "2.15.0"}),
        "finished": "2031-01-01T00:00:00+00:00",
    }  # fmt: skip
    sizes = {SEGMENTER: 1_900_000}
    if has_generator:
        sizes |= {GENERATOR: 3_400_000, DISCRIMINATOR: 174_000}
        values["skipped"] = replace_values(real["skipped"], {GENERATOR: SKIPPED_STEPS})
        kept = ["conv_823", "conv_421", "upconv_823", "upconv_622"]
        values["architecture"] = replace_values(real["architecture"], {"kept": kept})
    values["parameters"] = replace_values(real["parameters"], sizes)
    return replace_values(real, values)


def replace_values(real: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The real keys with some other values. Raises KeyError for a key that is not among them."""
    unknown = values.keys() - real.keys()
    if unknown:
        raise KeyError(f"no training writes {', '.join(sorted(unknown))}")
    return {**real, **values}
