"""Images of any size: what is padded or resized comes back as it was; batches too small for BatchNorm are explained."""

import pytest
import torch
from torch import Tensor, nn

from genseg_betty.backbones.padding import PadToMultiple, ResizeTo
from genseg_betty.backbones.smp import deeplab, unet
from genseg_betty.errors import UserError

ENCODER = "tu-test_resnet"


class Recorder(nn.Module):
    """Returns the image, and remembers it."""

    def forward(self, image: Tensor) -> Tensor:
        self.seen = image
        return image


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (16, 16), (17, 31), (3, 18, 5)])
@pytest.mark.parametrize(("least", "smallest"), [(1, 16), (16, 16), (20, 32)])
def test_padding_is_cropped_where_it_was_added(size, least, smallest):
    recorder = Recorder()
    image = torch.randn(1, 2, *size)
    assert torch.equal(PadToMultiple(recorder, 16, least)(image), image)
    assert all(side % 16 == 0 and side >= smallest for side in recorder.seen.shape[2:])
    assert recorder.seen.aminmax() == image.aminmax()


def test_sizes_that_fit_are_not_touched():
    padded = unet(1, 1, base_channels=1, encoder=ENCODER).eval()
    image = torch.randn(1, 1, 64, 32)
    assert torch.equal(padded(image), padded.network(image))


@pytest.mark.parametrize("size", [(8, 8), (5, 20), (8, 8, 8), (4, 9, 8)])
def test_networks_of_one_size_get_it(size):
    recorder, one = Recorder(), (8,) * len(size)
    image = torch.randn(2, 1, *size)
    logits = ResizeTo(recorder, one)(image)
    assert recorder.seen.shape[2:] == one
    assert logits.shape == image.shape
    if size == one:
        assert torch.equal(logits, image)


@pytest.mark.parametrize(
    ("build", "size"),
    [(deeplab, 64), (unet, 32)],
    ids=["deeplab pools to one value", "unet at 32 px ends at one value"],
)
def test_batch_of_one_in_training_is_explained(build, size):
    network = build(1, 1, base_channels=1, encoder=ENCODER)
    with pytest.raises(UserError, match=r"trainer\.batch_size=2"):
        network(torch.randn(1, 1, size, size))
    assert network.eval()(torch.randn(1, 1, size, size)).shape == (1, 1, size, size)


def test_other_value_errors_are_left_alone():
    class Broken(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        PadToMultiple(Broken(), 2)(torch.zeros(1, 1, 2, 2))
