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
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.randomness import seeded
from genseg_betty.run.names import GENERATOR
from genseg_betty.samples import image_pixels, mask_pixels, outline_masks, save_samples
from genseg_betty.training.validation import predict_logits

ROWS = 4


@torch.no_grad()
def draw_samples(folder: Path, step: int, engine: PhasedEngine, data: DataBundle) -> list[Path]:
    """Write `synthetic-<step>.png` (with a generator) and `validation-<step>.png` (with a trained segmenter)."""
    written = []
    generation = getattr(engine, GENERATOR, None)
    if generation is not None:
        synthetic = folder / f"synthetic-{step:06d}.png"
        _draw_synthetic(synthetic, generation, data.train)
        written.append(synthetic)
    if engine.segmenter.count:
        validation = folder / f"validation-{step:06d}.png"
        window = data.preprocessing.image_size
        _draw_predictions(validation, engine.segmenter.predictor(), data.validation, engine.device, window)
        written.append(validation)
    return written


def _draw_synthetic(path: Path, generation: Generation, labelled: LabelledSet) -> None:
    """Real pairs, the image that the generator draws for the same mask, and one for a moved mask.

    Of a generator that draws masks too: real pairs and drawn ones.
    """
    images, masks = labelled.images[:ROWS], labelled.masks[:ROWS]
    if labelled.patch is not None:
        batch = labelled.batch(list(range(len(images))))
        images, masks = batch.image, batch.mask
    masks = masks.to(generation.device)

    # The same random numbers each time, so that only the generator's progress shows; no buffer learns from it.
    with seeded(0), generation.network.restored_buffers():
        moved = generation.segmenter.augment.mask(masks)
        again, shares = generation.synthesise(masks)
        synthetic, _ = generation.synthesise(moved)
    if generation.objective.draws_masks:
        drawn = class_masks(2 * shares - 1)
        columns = {
            "synthetic image": _image_column(again),
            "the mask drawn with it": _mask_column(drawn),
        }
    else:
        _, moved, synthetic = _cut_slices(images, moved, synthetic)
        _, _, again = _cut_slices(images, masks, again)
        columns = {
            "synthetic image": _image_column(again),
            "augmented mask": _mask_column(moved),
            "synthetic image ": _image_column(synthetic),
        }
    images, masks, _ = _cut_slices(images, masks, images)
    save_samples(path, {"real image": _image_column(images), "its mask": _mask_column(masks), **columns})


def _draw_predictions(path: Path, module: nn.Module, labelled: LabelledSet, device: str, window: Sequence[int]) -> None:
    """Validation images, their masks, and what the segmenter makes of them."""
    images, masks = labelled.images[:ROWS], labelled.masks[:ROWS]
    logits = predict_logits(module, images.to(device), 1, window).float()
    predictions = class_masks(logits).to(masks.device)
    images, masks, predictions = _cut_slices(images, masks, predictions)
    outlines = [outline_masks(*row) for row in zip(images, masks, predictions, strict=True)]
    columns = {
        "validation image": _image_column(images),
        "true mask": _mask_column(masks),
        "prediction": _mask_column(predictions),
        "truth green, prediction red": outlines,
    }
    save_samples(path, columns)


def _image_column(images: Tensor) -> list[np.ndarray]:
    return [image_pixels(image) for image in images]


def _mask_column(masks: Tensor) -> list[np.ndarray]:
    return [mask_pixels(mask) for mask in masks]


def _cut_slices(images: Tensor, masks: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of volumes the slice of each mask with the most foreground, in all three; pictures as they are."""
    if masks.ndim == 3:
        return images, masks, others
    foreground = (masks > 0).flatten(2).sum(dim=2)
    chosen = foreground.argmax(dim=1).tolist()

    def cut_chosen(volumes: Tensor) -> Tensor:
        slices = []
        for volume, index in zip(volumes, chosen, strict=True):
            slices.append(volume[..., index, :, :])
        return torch.stack(slices)

    return cut_chosen(images), cut_chosen(masks), cut_chosen(others)
