"""Sample pictures of a training: what goes into the networks beside what comes out of them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from genseg_betty.data.loading import DataBundle, LabelledSet
from genseg_betty.generators.encoding import class_masks
from genseg_betty.levels.engine import GenSegEngine
from genseg_betty.levels.generation import Generation
from genseg_betty.levels.level import buffers_kept
from genseg_betty.levels.segmentation import predict_logits
from genseg_betty.randomness import seeded
from genseg_betty.samples import image_pixels, mask_pixels, overlay, save_samples

ROWS = 4


@torch.no_grad()
def draw_samples(folder: Path, step: int, engine: GenSegEngine, data: DataBundle) -> list[Path]:
    """Write `synthetic-<step>.png` (with a generator) and `validation-<step>.png` (with a trained segmenter)."""
    written = []
    generation = getattr(engine, "generation", None)
    if generation is not None:
        written.append(folder / f"synthetic-{step:06d}.png")
        _draw_synthetic(written[-1], generation, data.train)
    if engine.segmentation.count:
        written.append(folder / f"validation-{step:06d}.png")
        window = data.preprocessing.image_size
        _draw_predictions(written[-1], engine.segmentation.predictor(), data.validation, engine.device, window)
    return written


def _draw_synthetic(path: Path, generation: Generation, labelled: LabelledSet) -> None:
    """Real pairs, the image that the generator draws for the same mask, and one for a moved mask."""
    images, masks = labelled.images[:ROWS], labelled.masks[:ROWS].to(generation.device)
    if labelled.patch is not None:
        batch = labelled.batch(list(range(len(images))))
        images, masks = batch.image, batch.mask.to(generation.device)
    with seeded(0), buffers_kept([generation.module]):
        moved = generation.segmentation.augment.mask(masks)
        again, synthetic = (generation.synthesise(given)[0] for given in (masks, moved))
    _, moved, synthetic = _flat(images, moved, synthetic)
    images, masks, again = _flat(images, masks, again)
    columns = {
        "real image": [image_pixels(image) for image in images],
        "its mask": [mask_pixels(mask) for mask in masks],
        "synthetic image": [image_pixels(image) for image in again],
        "augmented mask": [mask_pixels(mask) for mask in moved],
        "synthetic image ": [image_pixels(image) for image in synthetic],
    }
    save_samples(path, columns)


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
