"""UniMatch: a step against the authors' sum, from what went into the network and came out of it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genseg_betty.augment.intensity import Intensity
from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.data.unlabelled import MixedBatch
from genseg_betty.errors import UserError
from genseg_betty.semisupervised.unimatch import UniMatch
from methods.test_contract import folder
from methods.tiny import TINY, built

OVERRIDES = [
    *TINY, "method=unimatch", "unlabelled=6", "trainer.iterations=10", "precision=fp32", "ood=[]",
    "dataset.n_labelled=4", "seed=3", "method.augment=false", "method.cutmix=1",
]  # fmt: skip
COUNT = 2  # labelled images a step, unlabelled ones, and those that rectangles are cut from


class Spied:
    """One step of a level in float64: every pass of the network, and every rectangle."""

    def __init__(self, threshold: float, *overrides: str) -> None:
        config = compose([*OVERRIDES, *overrides])
        _, engine = built(config, load_data(config, reads_unlabelled=True))
        self.level: UniMatch = engine.segmenter
        self.level.module.double()
        self.level.threshold = threshold
        self.batch: MixedBatch = self.level.batch_of(1)
        self.batch.image, self.batch.unlabelled = self.batch.image.double(), self.batch.unlabelled.double()
        # BatchNorm's running statistics are those of the images, so that evaluation is not far from training.
        with torch.no_grad():
            for _ in range(40):
                self.level.module(self.batch.unlabelled)
        self.passes: list[tuple[Tensor, Tensor, bool]] = []
        self.boxes: list[Tensor] = []
        self.spy()
        self.loss = self.level.training_step(self.batch)

    def spy(self) -> None:
        network, draw = self.level.network, self.level.cutmix.draw_boxes

        def call(image: Tensor) -> Tensor:
            logits = network(image)
            if logits.requires_grad:
                logits.retain_grad()
            self.passes.append((image, logits, self.level.module.training))
            return logits

        def draw_boxes(*sizes: int) -> Tensor:
            self.boxes.append(draw(*sizes))
            return self.boxes[-1]

        self.level.forward = call
        object.__setattr__(self.level.cutmix, "draw_boxes", draw_boxes)


def find_label(logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Class and confidence of one foreground logit."""
    p = 1 / (1 + np.exp(-logits.detach().numpy()[:, 0]))
    return (p > 0.5).astype(int), np.maximum(p, 1 - p)


def dice_loss(logits: Tensor, label: np.ndarray, counted: np.ndarray) -> float:
    """The mean of background and foreground, over the pixels that count."""
    foreground = 1 / (1 + np.exp(-logits.detach().numpy()[:, 0]))
    losses = []
    for p, t in ((1 - foreground, 1 - label), (foreground, label)):
        p, t = p[counted], t[counted]
        losses.append(1 - (2 * (p * t).sum() + 1e-5) / ((p * p).sum() + (t * t).sum() + 1e-5))
    return sum(losses) / 2


def median_confidence() -> float:
    """A threshold that some pixels of a new network are above of, and others below."""
    spied = Spied(0.5)
    _, logits, _ = spied.passes[1]
    return float(np.median(find_label(logits[COUNT : 2 * COUNT])[1]))


def test_a_step_is_the_authors_sum() -> None:
    spied = Spied(threshold := median_confidence())
    (other_in, others, _), (_, both, _), (_, strong, _) = spied.passes
    assert torch.equal(other_in, spied.batch.unlabelled[COUNT:])
    plain, dropped = both[: 2 * COUNT], both[2 * COUNT :]
    everywhere = np.ones(spied.batch.mask.shape, dtype=bool)
    truth = spied.batch.mask.numpy()
    x = plain[:COUNT, 0].detach().numpy()
    entropy = np.mean(np.log1p(np.exp(x)) - truth * x)
    labelled = (entropy + dice_loss(plain[:COUNT], truth, everywhere)) / 2

    label, confidence = find_label(plain[COUNT:])
    other_label, other_confidence = find_label(others)
    unlabelled = dice_loss(dropped[COUNT:], label, confidence >= threshold) / 2
    for view, box in enumerate(spied.boxes):
        inside = box.numpy()
        mixed = np.where(inside, other_label, label)
        sure = np.where(inside, other_confidence, confidence) >= threshold
        assert 0 < sure[inside].sum() < inside.sum()  # both kinds of pixels, within the rectangle and without
        assert 0 < sure[~inside].sum() < (~inside).sum()
        unlabelled += dice_loss(strong[view * COUNT :][:COUNT], mixed, sure) / 4
    assert spied.loss.item() == pytest.approx((labelled + unlabelled) / 2, rel=1e-9)


def test_the_weak_view_teaches_and_learns_nothing() -> None:
    spied = Spied(0.5)
    spied.loss.backward()
    (_, others, _), (_, both, _), (_, strong, _) = spied.passes
    assert not others.requires_grad
    assert both.grad is not None
    assert strong.grad is not None
    labelled, weak, dropped_labelled, dropped = both.grad.split(COUNT)
    assert not weak.any()
    assert not dropped_labelled.any()
    for learned in (labelled, dropped, *strong.grad.split(COUNT)):
        assert learned.any()


def test_pixels_below_the_threshold_do_not_count() -> None:
    spied = Spied(threshold := median_confidence())
    spied.loss.backward()
    (_, others, _), (_, both, _), (_, strong, _) = spied.passes
    _, confidence = find_label(both[COUNT : 2 * COUNT])
    _, other_confidence = find_label(others)
    assert both.grad is not None
    assert strong.grad is not None
    dropped = both.grad[3 * COUNT :, 0].numpy()
    assert ((dropped != 0) == (confidence >= threshold)).all()
    for gradient, box in zip(strong.grad[:, 0].split(COUNT), spied.boxes, strict=True):
        sure = np.where(box.numpy(), other_confidence, confidence) >= threshold
        assert ((gradient.numpy() != 0) == sure).all()


def test_without_a_sure_pixel_half_of_the_labelled_loss_is_left() -> None:
    spied = Spied(1.1)
    spied.loss.backward()
    _, (_, both, _), (_, strong, _) = spied.passes
    assert both.grad is not None
    assert strong.grad is not None
    assert not strong.grad.any()
    assert both.grad[:COUNT].any()
    assert not both.grad[COUNT:].any()


def test_the_strong_views_are_mixed_as_their_labels_are() -> None:
    """Without changes of intensity, pixel by pixel."""
    spied = Spied(0.5, "method.strong=null")
    image, _, _ = spied.passes[2]
    weak, other = spied.batch.unlabelled.split(COUNT)
    assert len(spied.boxes) == 2
    assert not torch.equal(*spied.boxes)
    for view, box in zip(image.split(COUNT), spied.boxes, strict=True):
        inside = box[:, None].expand_as(view)
        assert torch.equal(view[inside], other[inside])
        assert torch.equal(view[~inside], weak[~inside])


def test_the_strong_views_differ_in_their_intensities(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    change = Intensity.change_images

    def spied(self: Intensity, image: Tensor) -> Tensor:
        seen.append(change(self, image))
        return seen[-1]

    monkeypatch.setattr(Intensity, "change_images", spied)
    spy = Spied(0.5, "method.cutmix=0")
    first, _, second, _ = seen
    image, _, _ = spy.passes[2]
    assert torch.equal(image, torch.cat([first, second]))  # no rectangle was drawn
    assert not torch.equal(first, second)
    assert torch.equal(spy.passes[1][0][COUNT:], spy.batch.unlabelled[:COUNT])  # the weak view is as it was


def test_others_are_labelled_in_evaluation_mode_and_move_no_statistic() -> None:
    spied = Spied(0.5)
    assert [training for _, _, training in spied.passes] == [False, True, True]
    level = spied.level
    before = {name: buffer.clone() for name, buffer in level.module.named_buffers()}
    level.label_others(spied.batch.unlabelled)
    assert level.module.training
    for name, buffer in level.module.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_volumes_are_refused_by_the_name_of_the_backbone() -> None:
    tiny = [key for key in TINY if not key.startswith(("dataset", "backbone", "image_size"))]
    config = compose(
        [*tiny, "method=unimatch", "dataset=folder", f"dataset.root={folder(2, True)}", "image_size=[32, 32, 32]",
         "backbone=unet3d", "backbone.base_channels=2", "dataset.n_labelled=3", "ood=[]"]
    )  # fmt: skip
    data = load_data(config, reads_unlabelled=True)
    with pytest.raises(UserError, match=r"backbone=unet3d .*method=unimatch .*unet, deeplab, smp, swinunet"):
        built(config, data)
