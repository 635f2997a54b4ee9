"""The control of GenSeg, which shows two batches of real pairs a step: one step is written down once more."""

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from genseg_betty.config import compose
from genseg_betty.data.batches import StepSampler
from genseg_betty.data.loading import load_data
from genseg_betty.randomness import derived_seed, seeded
from methods.tiny import TINY, built
from states import different

GAMMA, RATE, SEED = 0.7, 0.1, 3
OVERRIDES = [
    *TINY, f"seed={SEED}", "ood=[]", "precision=fp32", "trainer.iterations=3",
    f"trainer.optimizers.segmenter={{name: sgd, lr: {RATE}}}",
]  # fmt: skip


TWICE = ["method=real_twice", f"method.real_weight={GAMMA}"]


def made(*overrides):
    config = compose([*OVERRIDES, *overrides])
    data = load_data(config)
    return data, built(config, data)[1]


def drawn_ids(data, feed, count):
    """Those that a sampler draws which knows the seed and the feed's name alone."""
    sampler = StepSampler(len(data.train), 2, derived_seed(SEED, "batches", feed))
    return sampler.indices(count).tolist()


def bce_dice(logits, mask):
    truth = mask[:, None].float()
    inside = logits.sigmoid()
    overlap = (2 * (inside * truth).sum() + 1e-5) / (inside.sum() + truth.sum() + 1e-5)
    return bce(logits, truth) + 1 - overlap


@pytest.mark.parametrize("recipe", ["none", "paper", "strong"])
def test_a_step_descends_both_batches(recipe):
    data, engine = made(*TWICE, f"augment={recipe}")
    level = engine.segmenter
    for count in range(3):
        weights = {name: value.detach().clone().requires_grad_() for name, value in level.module.named_parameters()}
        buffers = {name: value.clone() for name, value in level.module.named_buffers()}
        engine.advance()

        loss = torch.zeros(())
        with seeded(level.moment_of(count + 1).find_seed()):
            for feed, weight in (("segmenter", 1.0), ("second_segmenter", GAMMA)):
                chosen = drawn_ids(data, feed, count)
                image, mask = level.augment.pair(data.train.images[chosen], data.train.masks[chosen])
                loss = loss + weight * bce_dice(functional_call(level.module, weights | buffers, (image,)), mask)
        assert level.loss.item() == pytest.approx(loss.item(), rel=1e-5)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for (name, value), gradient in zip(level.module.named_parameters(), gradients, strict=True):
            assert torch.allclose(value, weights[name] - RATE * gradient, rtol=1e-4, atol=1e-6), name
        for name, value in level.module.named_buffers():  # BatchNorm follows both, as both are real
            assert torch.allclose(value, buffers[name], rtol=1e-4, atol=1e-6), name


def test_without_weight_the_second_batch_moves_nothing():
    """Then a step is that of supervised training: the first batch is drawn and moved as there."""
    twice = made("method=real_twice", "method.real_weight=0")[1]
    once = made("method=supervised")[1]
    while once.advance() is not None:
        twice.advance()
    weights = [dict(engine.segmenter.module.named_parameters()) for engine in (once, twice)]
    assert not different(*weights)


def test_the_second_batch_is_drawn_by_itself():
    """It holds as many images, has an order of its own, and is the same again for the same seed and step."""
    data, engine = made(*TWICE)
    batches = [engine.segmenter.batches(count) for count in range(20)]
    for count, batch in enumerate(batches):
        assert batch.ids == [data.train.ids[index] for index in drawn_ids(data, "segmenter", count)]
        assert batch.second.ids == [data.train.ids[index] for index in drawn_ids(data, "second_segmenter", count)]
        assert torch.equal(batch.second.image, engine.segmenter.batches(count).second.image)
    assert sum(set(batch.ids) == set(batch.second.ids) for batch in batches) < len(batches) / 2


def test_a_twin_batch_is_copied_whole():
    _, engine = made(*TWICE)
    one, other = engine.segmenter.batches(0), engine.segmenter.batches(1)
    copy = one.clone()
    copy.overwrite(other)
    for found, expected in ((copy, other), (copy.second, other.second), (one.to("cpu").second, one.second)):
        assert found.ids == expected.ids
        assert torch.equal(found.image, expected.image)
        assert torch.equal(found.mask, expected.mask)
    assert not torch.equal(copy.second.image, one.second.image)
