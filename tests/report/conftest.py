"""A factory of finished Runs as a training would leave them, made in milliseconds."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genseg_betty import train
from genseg_betty.run import Run
from methods.tiny import TINY

OPERATIONS = ("421", "622", "823")
WARMUP, JOINT = 150, 300


def config_of(method: str = "genseg", seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A config with the keys that a report reads."""
    return {
        "seed": seed,
        "name": None,
        "device": "auto",
        "precision": "auto",
        "image_size": 64,
        "hypergradient": "exact",
        "precondition": "step",
        "arch_every": 1,
        "dataset": {
            "name": "nlm_sz", "title": "NLM-SZ, Shenzhen chest X-ray", "metric": "dice", "n_labelled": 9,
            "root": "/data/nlm_sz", "about": {"licence": "public"},
        },
        "backbone": {"name": "unet", "_target_": "genseg_betty.backbones.smp.unet", "base_channels": 16},
        "generator": {"name": "pix2pix", "base_channels": 16, "searched": "both", "l1_weight": 100.0},
        "method": {"name": method, "_target_": f"genseg_betty.methods.{method}"},
        "augment": {"rotate": 15.0, "flip": [1], "translate": 0.1},
        "trainer": {
            "name": "quick", "iterations": JOINT, "warmup_iterations": WARMUP, "batch_size": 4,
            "optimizers": {"segmenter": {"name": "adam", "lr": 1e-3}},
        },
        "logger": {"name": "csv"},
        **changes,
    }  # fmt: skip


def log_training(run: Run, random: np.random.Generator, searched: bool, cells: int = 4) -> None:
    for step in range(10, WARMUP + JOINT + 1, 10):
        noise = random.normal(0, 0.05, 4)
        joint = step > WARMUP
        losses = {
            "discriminator": 0.7 + noise[1],
            "generator": 40 * math.exp(-step / 120) + 12 + 10 * noise[0],
        }
        if joint:
            losses |= {"segmenter": math.exp(-step / 200) + noise[2], "architecture": 0.4 + noise[3]}
        if searched:
            run.log(step, "joint" if joint else "warmup", losses)
        elif joint:
            run.log(step, "segmentation", {"segmenter": losses["segmenter"]})
        if joint and step % 20 == 0:
            dice = 0.93 - 0.4 * math.exp(-(step - WARMUP) / 60) + 0.1 * noise[0]
            run.log(step, "validation", {"dice": dice, "jaccard": dice / (2 - dice), "loss": 1 - dice})
            run.log(step, "system", {"seconds": step * 0.31, "memory_bytes": 5e8, "skipped_generator": 2.0})
            if searched:
                run.log(step, "architecture", {"gradient_norm": 1e-4 * 10 ** (20 * noise[1])})
                run.log(step, "architecture", alphas(step - WARMUP, cells))


def alphas(step: int, cells: int) -> dict[str, float]:
    values = {}
    for half, prefix in (("down", "conv"), ("up", "upconv")):
        for cell in range(cells):
            logits = np.array([-1, 0.2, 1]) * step / 200 * math.cos(1.3 * cell + (half == "up"))
            weights = np.exp(logits) / np.exp(logits).sum()
            for name, weight in zip(OPERATIONS, weights, strict=True):
                values[f"{half}.{cell}.{prefix}_{name}"] = float(weight)
    return values


def draw_sample(path: Path, random: np.random.Generator) -> None:
    """Three rows of blurred discs beside their masks."""
    y, x = np.mgrid[:96, :96]
    rows = []
    for _ in range(3):
        cx, cy, r = *random.uniform(30, 66, 2).tolist(), random.uniform(12, 26)
        mask = (x - cx) ** 2 + (y - cy) ** 2 < r * r
        soft = 90 + 120 / (1 + np.exp((np.hypot(x - cx, y - cy) - r) / 4)) + random.normal(0, 8, mask.shape)
        rows.append(np.hstack([soft, 255.0 * mask, soft[::-1], 255.0 * mask[::-1], soft]))
    Image.fromarray(np.clip(np.vstack(rows), 0, 255).astype(np.uint8)).save(path)


def finished_run(path: Path, method: str = "genseg", seed: int = 0, gain: float = 0.0, **changes: Any) -> Path:
    """A finished Run with two test sets; `gain` is added to every Dice."""
    random = np.random.default_rng([seed, len(method)])
    searched = method == "genseg"
    with Run.start(path, config_of(method, seed, **changes)) as run:
        log_training(run, random, searched)
        draw_sample(run.samples_dir / "step-000300.png", random)
        draw_sample(run.samples_dir / "step-000450.png", random)
        test = {}
        for name, centre, count in (("nlm_mc", 0.80, 138), ("nlm_sz", 0.91, 166)):
            dice = np.clip(centre + gain + random.normal(0, 0.01) - random.gamma(1.5, 0.025, count), 0, 1)
            rows = [{"id": f"{name}_{i:03}", "dice": d, "jaccard": d / (2 - d)} for i, d in enumerate(dice.tolist())]
            run.write_test(name, rows)
            means = {score: float(np.mean([row[score] for row in rows])) for score in ("dice", "jaccard")}
            test[name] = {**means, "cases": count}
        generator = {"generator": 3_400_000, "discriminator": 174_000} if searched else {}
        results = {
            "schema": 1, "name": run.path.name, "method": method, "dataset": "nlm_sz", "backbone": "unet",
            "generator": "pix2pix" if searched else None, "hypergradient": "exact" if searched else None,
            "seed": seed, "image_size": [64, 64], "n_labelled": 9, "n_train": 7,
            "n_validation": 2, "iterations": JOINT, "warmup_iterations": WARMUP, "metric": "dice",
            "validation": {"best": 0.93, "step": 440}, "test": test, "seconds": 141.5,
            "seconds_per_iteration": 0.31, "peak_memory_bytes": 612_000_000, "device": "cpu, 2 threads",
            "parameters": {"segmenter": 1_900_000, **generator}, "skipped": {"generator": 2},
            "versions": {"python": "3.11.2", "torch": "2.15.0", "monai": None}, "data_sha256": "ab" * 32,
            "finished": "2031-01-01T00:00:00+00:00",
        }  # fmt: skip
        if searched:
            results["architecture"] = {"kept": ["conv_823", "conv_421", "upconv_823", "upconv_622"]}
        run.write_json("results.json", results)
        run.status("finished", step=WARMUP + JOINT)
    return run.path


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(method: str = "genseg", seed: int = 0, gain: float = 0.0, name: str = "", **changes: Any) -> Path:
        return finished_run(tmp_path / (name or f"{method}-s{seed}"), method, seed, gain, **changes)

    return make


@pytest.fixture(scope="session")
def real_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A Run of each kind of method as the training itself leaves it: the smallest networks, a few steps."""
    folder = tmp_path_factory.mktemp("real")
    steps = ["trainer.iterations=3", "trainer.warmup_iterations=1", "trainer.finetune_iterations=1"]
    often = ["trainer.validate_every=2", "trainer=quick", "ood=[]"]
    found = {}
    for method in ("vanilla", "separate", "genseg"):
        found[method] = folder / method
        train([*TINY, *steps, *often, f"method={method}", f"run_dir={found[method]}"])
    return found
