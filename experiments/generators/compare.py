"""Trained generators beside each other: what they draw, whether it keeps to its masks, how near it is to real images.

python experiments/generators/compare.py JUDGE RUN... --out experiments/generators

JUDGE is a Run of a segmenter that was trained on real images alone (`method=combine`), on another draw of them. For
each RUN: the Dice of JUDGE's masks of synthetic images with the masks that these were drawn for, and the kernel
inception distance (Bińkowski et al., ICLR 2018) on JUDGE's innermost features, which need no download. The last row
has real images in the place of synthetic ones.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genseg_betty.backbones.unet_classic import ClassicUNet
from genseg_betty.data.formats import read_image
from genseg_betty.data.loading import load_data
from genseg_betty.inference import evaluate_folders, generate, load, score_cases
from genseg_betty.inference.generate import Renderer
from genseg_betty.inference.predictor import Predictor
from genseg_betty.randomness import seeded
from genseg_betty.run import Run
from genseg_betty.samples import image_pixels, mask_pixels, save_samples

COUNT, ROWS = 100, 4


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


def seconds_of(run: Run) -> float:
    """Of one update of generator and opponent: the warm-up, without the segmenter's steps that follow it."""
    rows = [line.split(",") for line in (run.path / "metrics.csv").read_text().splitlines()[1:]]
    spent = {int(step): float(value) for step, phase, name, value in rows if (phase, name) == ("system", "seconds")}
    (first, until_first), *_, (last, until_last) = sorted(spent.items())
    warmup = run.config.trainer.warmup_iterations + run.config.trainer.iterations
    return (until_first - (first - warmup) * (until_last - until_first) / (last - first)) / warmup


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
    columns = {
        "mask": [mask_pixels(mask) for mask in data.train.masks[:ROWS]],
        "real": [image_pixels(image) for image in data.train.images[:ROWS]],
    }
    lines = [
        "| generator | weights | s an update | Dice with its mask | KID × 1000 | Dice, Separate |",
        "|---|---|---|---|---|---|",
    ]
    for path in arguments.runs:
        run = Run.open(path)
        results, name = json.loads((path / "results.json").read_text()), run.config.generator.name
        with tempfile.TemporaryDirectory() as folder:
            pairs = generate(path, COUNT, Path(folder) / "pairs")
            dataset_of_pairs = Path(folder) / "pairs"
            fidelity = evaluate_folders(arguments.judge, dataset_of_pairs / "images", dataset_of_pairs / "masks").dice
            drawn = features(judge, [read_image(image) for image in sorted((pairs / "images").iterdir())])
        renderer = Renderer(run, False, torch.device("cpu"))
        with seeded(0):
            rendered = [renderer(mask[None]) for mask in data.train.masks[:ROWS]]
        columns[name] = [image_pixels(image) for image, _ in rendered]
        if renderer.objective.draws_masks:
            columns[f"{name}: mask"] = [mask_pixels(mask) for _, mask in rendered]
        scores = " / ".join(f"{found['dice']:.3f}" for found in results["test"].values())
        lines.append(
            f"| {name} | {results['parameters']['generator'] / 1e6:.1f} M | {seconds_of(run):.2f} | {fidelity:.3f} "
            f"| {1000 * kernel_distance(drawn, real):.0f} | {scores} |"
        )
    labelled = [case for case in dataset.cases if case.id in set(data.splits.train + data.splits.validation)]
    fidelity = score_cases(judge, dataset, cases)[1]["dice"]
    near = kernel_distance(features(judge, [dataset.load(case).image for case in labelled]), real)
    lines.append(f"| real images | | | {fidelity:.3f} | {1000 * near:.0f} | |")
    save_samples(arguments.out / "grid.png", columns)
    (arguments.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
