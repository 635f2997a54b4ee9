"""The patch discriminator and the encoding of masks."""

import pytest
import torch
from torch import nn

from genseg_betty.errors import UserError
from genseg_betty.generators.discriminators import PatchDiscriminator
from genseg_betty.generators.encoding import encode_mask


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_receptive_field(layers: int, field: int) -> None:
    """The pixels that one logit depends on; norms are left out, since they see the whole image."""
    discriminator = PatchDiscriminator(2, base_channels=2, layers=layers).double()
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
    body = nn.Sequential(*(m for m in discriminator.body if not isinstance(m, nn.InstanceNorm2d)))
    image = torch.ones(1, 2, 160, 160, dtype=torch.float64, requires_grad=True)
    logits = body(image)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    touched = gradient[0].abs().sum(dim=0) > 0
    assert touched.any(dim=0).sum() == field
    assert touched.any(dim=1).sum() == field


@pytest.mark.parametrize(
    ("size", "patches"),
    [((256, 256), (30, 30)), ((64, 96), (6, 10)), ((100, 33), (10, 2)), ((32, 32), (2, 2))],
)
def test_shape_table(size: tuple[int, int], patches: tuple[int, int]) -> None:
    discriminator = PatchDiscriminator(1 + 3, base_channels=4)
    logits = discriminator(torch.randn(2, 1, *size), torch.randn(2, 3, *size))
    assert logits.shape == (2, 1, *patches)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("side", "layers"), [(24, 3), (23, 2), (12, 2), (11, 1), (6, 1)])
def test_fewer_layers_for_small_images(side: int, layers: int) -> None:
    discriminator = PatchDiscriminator(2, base_channels=4, image_size=(side, 40))
    assert discriminator.layers == layers
    logits = discriminator(torch.randn(1, 1, side, 40), torch.randn(1, 1, side, 40))
    assert min(logits.shape) >= 1


def test_errors_say_how_to_mend() -> None:
    with pytest.raises(UserError, match=r"needs 24: enlarge image_size or lower"):
        PatchDiscriminator(2, base_channels=4)(torch.randn(1, 1, 20, 64), torch.randn(1, 1, 20, 64))
    with pytest.raises(UserError, match="at least 1"):
        PatchDiscriminator(2, layers=0)
    with pytest.raises(UserError, match="instance or batch"):
        PatchDiscriminator(2, norm="group")


def test_parameters_at_the_size_of_the_reference() -> None:
    with torch.device("meta"):
        discriminator = PatchDiscriminator(4)
    pairs = 4 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512
    assert sum(p.numel() for p in discriminator.parameters()) == 16 * pairs + 64 + 1


def test_no_norm_in_the_first_layer() -> None:
    body = PatchDiscriminator(2).body
    assert [type(module) for module in body[:2]] == [nn.Conv2d, nn.LeakyReLU]
    assert sum(isinstance(module, nn.InstanceNorm2d) for module in body) == 3


def test_depends_on_the_mask_and_on_the_image() -> None:
    discriminator = PatchDiscriminator(2, base_channels=4)
    mask, image = (torch.randn(1, 1, 32, 32, requires_grad=True) for _ in range(2))
    for gradient in torch.autograd.grad(discriminator(mask, image).square().sum(), [mask, image]):
        assert gradient.abs().max() > 0


def test_encode_mask_worked_example() -> None:
    binary = encode_mask(torch.tensor([[[0, 1], [1, 0]]]), num_classes=2)
    assert binary.dtype == torch.float32
    assert binary.tolist() == [[[[-1, 1], [1, -1]]]]
    three = encode_mask(torch.tensor([[[0, 1], [2, 0]]]), num_classes=3)
    assert three.tolist() == [[[[1, -1], [-1, 1]], [[-1, 1], [-1, -1]], [[-1, -1], [1, -1]]]]
    with pytest.raises(ValueError, match="at least 2"):
        encode_mask(torch.zeros(1, 2, 2, dtype=torch.int64), num_classes=1)
