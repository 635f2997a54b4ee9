"""Trained generators beside each other: what they draw, whether it keeps to its masks, how near it is to real images.

python experiments/generators/compare.py JUDGE RUN... --out experiments/generators > table.md

JUDGE is a Run of a segmenter that was trained on real images alone (`method=combine`), on another draw of them. For
each RUN of method=separate or genseg, on the same data:

- the Dice of JUDGE's masks of its synthetic images with the masks that these were drawn for,
- the kernel inception distance (Bińkowski et al., ICLR 2018) to the real test images, on JUDGE's innermost features,
  which need no download: mean and standard deviation over subsets,
- seconds of an update of stage I and of a joint step of the three levels, measured here,
- the Dice of its own segmenter on its test sets.

The last row has real images, seen by neither, in the place of synthetic ones.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from genseg_betty.backbones.unet_classic import ClassicUNet
from genseg_betty.data.formats import read_image
from genseg_betty.data.loading import DataBundle, load_data
from genseg_betty.inference import evaluate_folders, generate, load, score_cases
from genseg_betty.inference.predictor import Predictor
from genseg_betty.inference.renderer import Renderer
from genseg_betty.methods.genseg import GenSeg
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.randomness import seeded
from genseg_betty.run import Run
from genseg_betty.samples import image_pixels, mask_pixels, save_samples
from genseg_betty.training.components import Components

COUNT, ROWS = 100, 4
SUBSETS, OF_SUBSET = 100, 50
UPDATES, JOINT_STEPS = 10, 5  # timed, after one of each that is not
HEADER = [
    "generator", "method", "weights", "Dice with its mask", "KID × 1000", "s an update", "s a joint step", "Dice",
]  # fmt: skip


def features(judge: Predictor, images: list[np.ndarray]) -> np.ndarray:
    """[N, F] float64: the innermost feature maps of a `unet_classic`, averaged over the image."""
    network = next(part for part in judge.network.modules() if isinstance(part, ClassicUNet))
    kept: list[Tensor] = []
    hook = network.down[-1].register_forward_hook(lambda _module, _inputs, output: kept.append(output.mean((2, 3))))
    for image in images:
        judge.logits(image)
    hook.remove()
    return torch.cat(kept).double().cpu().numpy()


def kernel_distance(some: np.ndarray, others: np.ndarray) -> float:
    """The unbiased squared maximum mean discrepancy under the kernel (x·y / F + 1)³."""

    def mean(x: np.ndarray, y: np.ndarray, same: bool) -> float:
        values = (x @ y.T / x.shape[1] + 1) ** 3
        return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)) if same else values.mean())

    return mean(some, some, True) + mean(others, others, True) - 2 * mean(some, others, False)


def inception_distance(some: np.ndarray, others: np.ndarray) -> str:
    """Mean and standard deviation of `kernel_distance` over subsets, in thousandths."""
    draw = np.random.default_rng(0)
    subsets = [[x[draw.choice(len(x), OF_SUBSET, replace=False)] for x in (some, others)] for _ in range(SUBSETS)]
    distances = [1000 * kernel_distance(*pair) for pair in subsets]
    return f"{np.mean(distances):.0f} ± {np.std(distances):.0f}"


def seconds_of_steps(run: Run, data: DataBundle) -> tuple[float, float]:
    """Median seconds of an update of stage I, and of a joint step of the three levels with the exact hypergradient."""
    config = run.config.copy()
    config.trainer.warmup_iterations, config.trainer.iterations = UPDATES + 1, JOINT_STEPS + 1
    config.hypergradient = "exact"
    engine = PhasedEngine(GenSeg().plan(Components(config, data)))
    spent: dict[str, list[float]] = {}
    begun = time.perf_counter()
    while phase := engine.advance():
        spent.setdefault(phase.name, []).append(time.perf_counter() - begun)
        begun = time.perf_counter()
    return median(spent["warmup"][1:]), median(spent["joint"][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judge", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    judge = load(arguments.judge)
    data = load_data(Run.open(arguments.runs[0]).config)
    dataset, cases = data.test[data.dataset.name]
    real = features(judge, [dataset.load(case).image for case in cases])
    of_masks = {"mask": [mask_pixels(mask) for mask in data.train.masks[:ROWS]]}
    of_masks["real"] = [image_pixels(image) for image in data.train.images[:ROWS]]
    grids: dict[str, dict[str, list[np.ndarray]]] = {}
    rows = [HEADER, ["---"] * len(HEADER)]
    for path in arguments.runs:
        run = Run.open(path)
        results, name = json.loads((path / "results.json").read_text()), run.config.generator.name
        with tempfile.TemporaryDirectory() as folder:
            pairs = generate(path, COUNT, Path(folder) / "pairs", gate=False).out
            fidelity = evaluate_folders(arguments.judge, pairs / "images", pairs / "masks").dice
            drawn = features(judge, [read_image(image) for image in sorted((pairs / "images").iterdir())])
        renderer = Renderer(run, data.preprocessing, False, torch.device("cpu"))
        with seeded(0):
            rendered = [renderer(mask[None]) for mask in data.train.masks[:ROWS]]
        columns = grids.setdefault(run.config.method.name, dict(of_masks))
        columns[name] = [image_pixels(image) for image, _ in rendered]
        if renderer.objective.draws_masks:
            columns[f"{name}: mask"] = [mask_pixels(mask) for _, mask in rendered]
        seconds = [f"{value:.2f}" for value in seconds_of_steps(run, data)]
        scores = " / ".join(f"{found['dice']:.3f}" for found in results["test"].values())
        weights = f"{results['parameters']['generator'] / 1e6:.1f} M"
        row = [name, run.config.method.name, weights, f"{fidelity:.3f}", inception_distance(drawn, real)]
        rows.append([*row, *seconds, scores])
    seen = {*data.splits.test, *data.splits.train, *data.splits.validation}
    learned = json.loads((arguments.judge / "splits.json").read_text())
    seen |= {*learned["train"], *learned["validation"]}
    unseen = [case for case in dataset.cases if case.id not in seen]
    chosen = np.random.default_rng(0).choice(len(unseen), COUNT, replace=False)
    others = features(judge, [dataset.load(unseen[index]).image for index in chosen])
    fidelity = score_cases(judge, dataset, cases)[1]["dice"]
    rows.append(["real images", "", "", f"{fidelity:.3f}", inception_distance(others, real), "", "", ""])
    for method, columns in grids.items():
        save_samples(arguments.out / f"grid-{method}.png", columns)
    print(*(f"| {' | '.join(row)} |" for row in rows), sep="\n")


if __name__ == "__main__":
    main()
