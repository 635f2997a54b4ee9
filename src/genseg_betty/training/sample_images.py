"""Sample pictures of a training: what goes into the networks beside what comes out of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from genseg_betty.data.batches import LabelledSet
from genseg_betty.data.loading import DataBundle
from genseg_betty.generators.encoding import class_masks
from genseg_betty.levels.generation import Generation
from genseg_betty.levels.segmentation import predict_logits
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.randomness import seeded
from genseg_betty.samples import image_pixels, mask_pixels, overlay, save_samples

ROWS = 4


@torch.no_grad()
def draw_samples(folder: Path, step: int, engine: PhasedEngine, data: DataBundle) -> list[Path]:
    """Write `synthetic-<step>.png` (with a generator) and `validation-<step>.png` (with a trained segmenter)."""
    written = []
    generation = getattr(engine, "generator", None)
    if generation is not None:
        written.append(folder / f"synthetic-{step:06d}.png")
        _draw_synthetic(written[-1], generation, data.train)
    if engine.segmenter.count:
        written.append(folder / f"validation-{step:06d}.png")
        window = data.preprocessing.image_size
        _draw_predictions(written[-1], engine.segmenter.predictor(), data.validation, engine.device, window)
    return written


def _draw_synthetic(path: Path, generation: Generation, labelled: LabelledSet) -> None:
    """Real pairs, the image that the generator draws for the same mask, and one for a moved mask.

    Of a generator that draws masks too: real pairs and drawn ones.
    """
    images, masks = labelled.images[:ROWS], labelled.masks[:ROWS].to(generation.device)
    if labelled.patch is not None:
        batch = labelled.batch(list(range(len(images))))
        images, masks = batch.image, batch.mask.to(generation.device)
    with seeded(0), generation.network.restored_buffers():
        moved = generation.segmenter.augment.mask(masks)
        (again, shares), (synthetic, _) = (generation.synthesise(given) for given in (masks, moved))
    if generation.objective.draws_masks:
        drawn = class_masks(2 * shares - 1)
        columns = {"synthetic image": _images(again), "the mask drawn with it": _masks(drawn)}
    else:
        _, moved, synthetic = _flat(images, moved, synthetic)
        _, _, again = _flat(images, masks, again)
        columns = {
            "synthetic image": _images(again),
            "augmented mask": _masks(moved),
            "synthetic image ": _images(synthetic),
        }
    images, masks, _ = _flat(images, masks, images)
    save_samples(path, {"real image": _images(images), "its mask": _masks(masks), **columns})


def _images(images: Tensor) -> list[np.ndarray]:
    return [image_pixels(image) for image in images]


def _masks(masks: Tensor) -> list[np.ndarray]:
    return [mask_pixels(mask) for mask in masks]


def _flat(images: Tensor, masks: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of volumes the slice of each mask with the most foreground, in all three; pictures as they are."""
    if masks.ndim == 3:
        return images, masks, others
    chosen = (masks > 0).flatten(2).sum(dim=2).argmax(dim=1).tolist()

    def cut(volumes: Tensor) -> Tensor:
        return torch.stack([volume[..., index, :, :] for volume, index in zip(volumes, chosen, strict=True)])

    return cut(images), cut(masks), cut(others)


def _draw_predictions(path: Path, module: nn.Module, labelled: LabelledSet, device: str, window: Sequence[int]) -> None:
    images, masks = labelled.images[:ROWS], labelled.masks[:ROWS]
    predictions = class_masks(predict_logits(module, images.to(device), 1, window).float()).to(masks.device)
    images, masks, predictions = _flat(images, masks, predictions)
    columns = {
        "validation image": [image_pixels(image) for image in images],
        "true mask": [mask_pixels(mask) for mask in masks],
        "prediction": [mask_pixels(mask) for mask in predictions],
        "truth green, prediction red": [overlay(*row) for row in zip(images, masks, predictions, strict=True)],
    }
    save_samples(path, columns)
