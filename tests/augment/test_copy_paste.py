"""Copy-paste: a worked example, images and masks that agree, seeds, and the key of the config."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from genseg_betty.augment import Augmentation
from genseg_betty.augment.copy_paste import CopyPaste, paste_labels, paste_pixels
from genseg_betty.build import build_augmentation
from genseg_betty.config import compose
from genseg_betty.errors import ConfigError, UserError
from levels.real import real_engine
from levels.toy import advance

STILL = {"rotate": 0.0, "flip": (), "translate": 0.0}


def test_a_worked_example():
    """One pixel of class 2, at 5, 5 of an image of 0.8, on an image of -0.2 that has class 1 beside it and far away.

    Around the object the share is a Gaussian of deviation 1: e^-1/2 / (2 pi) = 0.0965 a pixel beside it, and
    e^-1 / (2 pi) = 0.0585 at its corners. Within it, it is 1.
    """
    image = torch.tensor([-0.2, 0.8]).view(2, 1, 1, 1).repeat(1, 3, 11, 11)
    mask = torch.zeros(2, 11, 11, dtype=torch.int64)
    mask[1, 5, 5] = 2
    mask[0, 5, 6] = mask[0, 1, 1] = mask[0, 5, 5] = 1
    donors = torch.tensor([1, 1])
    pasted, labels = paste_pixels(image, mask, donors), paste_labels(mask, donors)

    assert labels[0, 5, 5] == 2
    assert labels[0, 5, 6] == labels[0, 1, 1] == 1
    assert (labels[0] > 0).sum() == 3
    assert torch.equal(labels[1], mask[1])
    assert torch.equal(pasted[1], image[1])  # onto itself: unchanged to the bit
    for (row, column), share in {(5, 5): 1.0, (5, 6): 0.09653, (4, 5): 0.09653, (6, 6): 0.05855, (0, 0): 0.0}.items():
        assert pasted[0, :, row, column].tolist() == pytest.approx([-0.2 + share] * 3, abs=1e-4)


@pytest.mark.parametrize("size", [(20, 24), (10, 12, 14)])
def test_the_edge_is_a_blur_of_at_most_a_half(size):
    """By SciPy's Gaussian filter; of images and volumes."""
    random = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(random.standard_normal((3, *size)), (0, *[2] * len(size)))
    mask = torch.from_numpy((smooth > 0.05).astype(np.int64))
    image = torch.from_numpy(random.uniform(0, 2, (3, 2, *size)).astype(np.float32))
    donors = torch.tensor([2, 0, 1])
    found = paste_pixels(image, mask, donors)
    for index, donor in enumerate(donors.tolist()):
        inside = mask[donor].numpy() > 0
        blurred = ndimage.gaussian_filter(inside.astype(float), 1.0, mode="mirror", truncate=8)
        share = np.where(inside, 1, np.minimum(blurred, 0.5))
        expected = share * image[donor].numpy() + (1 - share) * image[index].numpy()
        np.testing.assert_allclose(found[index], expected, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 12), (32, 10, 12)])
def test_image_and_mask_agree(size):
    """Each image has a brightness of its own for its objects: wherever a label is, the image of that label is."""
    count = 3
    augment = Augmentation(**STILL, copy_paste=0.7)
    grid = np.indices(size)
    mask = torch.zeros(count, *size, dtype=torch.int64)
    for index in range(count):
        centre = np.array([5 + 10 * index, *[5] * (len(size) - 1)]).reshape(-1, *[1] * len(size))
        mask[index] = torch.from_numpy((((grid - centre) ** 2).sum(axis=0) < 5) * (index + 1))
    levels = torch.linspace(-0.4, 0.9, count + 1)
    image = levels[mask][:, None].clone()
    image[mask[:, None] == 0] = -1.0
    torch.manual_seed(0)
    moved_image, moved_mask = augment.pair(image, mask)
    assert torch.allclose(moved_image[:, 0][moved_mask > 0], levels[moved_mask][moved_mask > 0], atol=1e-5)
    classes = [set(one.unique().tolist()) for one in moved_mask]
    assert any(len(found) > 2 for found in classes)
    assert all(index + 1 in found or len(found) == 2 for index, found in enumerate(classes))


def test_the_share_of_images_and_the_donors():
    donors = torch.stack([CopyPaste(probability=0.3).draw_donors(4) for _ in range(4000)])
    own = torch.arange(4)
    pasted = donors != own
    assert pasted.float().mean(0).tolist() == pytest.approx([0.3] * 4, abs=0.03)
    for index in range(4):  # each of the others as often
        counts = torch.bincount(donors[pasted[:, index], index], minlength=4).float()
        shares = counts / counts.sum()
        assert shares.tolist() == pytest.approx([0.0 if other == index else 1 / 3 for other in range(4)], abs=0.06)
    assert (CopyPaste(probability=1.0).draw_donors(5) != torch.arange(5)).all()
    assert CopyPaste(probability=1.0).draw_donors(1).tolist() == [0]


def test_draws_follow_from_the_seed_and_nothing_is_drawn_without_a_share():
    mask = torch.randint(0, 3, (4, 12, 12))
    image = torch.rand(4, 1, 12, 12)

    def draw(**options):
        torch.manual_seed(3)
        return [*Augmentation(**options).pair(image, mask), torch.rand(())]

    for one, other in zip(draw(copy_paste=0.5), draw(copy_paste=0.5), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(draw(copy_paste=0.0), draw(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(draw(copy_paste=1.0)[1], draw()[1])


def test_masks_alone_get_objects_too():
    mask = torch.zeros(2, 8, 8, dtype=torch.int64)
    mask[0, :2], mask[1, 6:] = 1, 2
    pasted = Augmentation(**STILL, copy_paste=1.0).mask(mask)
    assert [one.unique().tolist() for one in pasted] == [[0, 1, 2]] * 2


@pytest.mark.parametrize("method", ["genseg", "separate", "supervised", "real_twice", "rotate"])
def test_every_method_that_augments_pastes(method):
    engine = real_engine(f"method={method}", "copy_paste=1", "trainer.iterations=3")
    level = engine.segmenter
    advance(engine, 3)
    assert level.guard.skipped == 0
    batch = level.batches(0)
    torch.manual_seed(0)
    _, mask = level.augment.pair(batch.image, batch.mask)
    level.augment.copy_paste = None
    torch.manual_seed(0)
    _, plain = level.augment.pair(batch.image, batch.mask)
    assert torch.equal(mask, torch.where(plain.flip(0) > 0, plain.flip(0), plain))  # a batch of two
    assert not torch.equal(mask, plain)


def test_the_key_of_the_config():
    assert compose([]).copy_paste == 0
    assert build_augmentation(compose([]), None).copy_paste is None
    assert build_augmentation(compose(["copy_paste=0.25"]), None).copy_paste.probability == 0.25
    with pytest.raises(ConfigError, match=r"copy_paste=1\.5: expected a number from 0 to 1"):
        compose(["copy_paste=1.5"])
    with pytest.raises(ConfigError) as raised:
        compose(["method=vanilla", "copy_paste=0.5", "trainer.batch_size=1"])
    for told in ("choose method=supervised augment=none copy_paste=0.5", "trainer.batch_size=1 has none"):
        assert told in str(raised.value)
    with pytest.raises(UserError, match="from 0 to 1"):
        Augmentation(copy_paste=2)
