"""Operations without second derivatives: replaced while gradients are on, left alone in prediction."""

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import deform_conv2d

from genseg_betty.backbones.probe import check_backbone, differentiate_twice
from genseg_betty.backbones.second_order import ATTENTION, HARDSIGMOID, TwiceDifferentiable
from genseg_betty.errors import UserError


class Attention(nn.Module):
    """A segmenter that attends over all pixels; remembers whether the fused kernels were allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(1, 24, 1)
        self.head = nn.Conv2d(8, 1, 1)
        self.fused: list[bool] = []

    def forward(self, image: Tensor) -> Tensor:
        self.fused.append(torch.backends.cuda.flash_sdp_enabled())
        query, key, value = (part[:, None].contiguous() for part in self.project(image).flatten(2).mT.chunk(3, dim=-1))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.head(mixed[:, 0].mT.unflatten(-1, image.shape[2:]))


class MultiHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)
        self.head = nn.Linear(4, 1)

    def forward(self, image: Tensor) -> Tensor:
        tokens = image.flatten(2).mT.repeat(1, 1, 4)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.head(mixed).mT.unflatten(-1, image.shape[2:])


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Hardsigmoid(inplace=True), nn.Conv2d(2, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)


class Deformable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Conv2d(1, 18, 3, padding=1)
        self.weight = nn.Parameter(torch.ones(1, 1, 3, 3))

    def forward(self, image: Tensor) -> Tensor:
        return deform_conv2d(image, self.offset(image), self.weight, padding=1)


@pytest.mark.parametrize(("kind", "note"), [(Attention, ATTENTION), (MultiHead, ATTENTION), (Gate, HARDSIGMOID)])
def test_second_derivatives_where_torch_has_none(kind, note):
    plain = kind()
    with pytest.raises(RuntimeError, match=r"derivative for .* not implemented"):
        differentiate_twice(plain, [2, 1, 8, 8])
    network = TwiceDifferentiable(plain)
    with warnings.catch_warnings(record=True, action="always") as warned:
        differentiate_twice(network, [2, 1, 8, 8])
        differentiate_twice(network, [2, 1, 8, 8])
    assert [str(warning.message) for warning in warned] == [note]


@pytest.mark.parametrize("kind", [Attention, MultiHead, Gate])
def test_the_replacement_computes_the_same(kind):
    plain, image = kind().double(), torch.randn(2, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(TwiceDifferentiable(plain)(image), plain(image), rtol=1e-10, atol=1e-12)


def test_prediction_keeps_the_fast_kernels():
    network = TwiceDifferentiable(Attention())
    image = torch.randn(1, 1, 8, 8)
    network(image)
    with torch.no_grad():
        network(image)
    network(image)
    assert network.network.fused == [False, True, False]
    assert torch.backends.cuda.flash_sdp_enabled()


def test_the_kernels_come_back_after_an_error():
    with pytest.raises(RuntimeError):
        TwiceDifferentiable(Attention())(torch.randn(1, 2, 8, 8))
    assert torch.backends.cuda.flash_sdp_enabled()


@pytest.mark.filterwarnings("error")
def test_networks_without_such_parts_and_predictions_warn_of_nothing():
    TwiceDifferentiable(nn.Conv2d(1, 1, 1))(torch.randn(1, 1, 4, 4))
    with torch.no_grad():
        TwiceDifferentiable(Attention(), notes=("a note",))(torch.randn(1, 1, 4, 4))


def test_what_cannot_be_replaced_is_refused_before_the_training():
    network = TwiceDifferentiable(Deformable())
    check_backbone(network, 1, 1, (16, 16), second_derivatives=False)
    with pytest.raises(UserError, match=r"cannot be differentiated twice.*deform_conv2d.*finite_difference"):
        check_backbone(network, 1, 1, (16, 16), second_derivatives=True)


@pytest.mark.parametrize(
    ("network", "fault"),
    [
        (nn.Conv2d(1, 3, 3, padding=1), r"give \[2, 3, 20, 30\], expected \[2, 1, 20, 30\]"),
        (nn.Conv2d(1, 1, 3), r"give \[2, 1, 18, 28\], expected \[2, 1, 20, 30\]"),
        (nn.Conv2d(3, 1, 1), "ends in RuntimeError"),
        (nn.MaxPool2d(1, return_indices=True), "it returns tuple, expected one tensor"),
    ],
)
def test_networks_that_do_not_fit_are_refused(network, fault):
    with pytest.raises(UserError, match=f"does not fit the data: .*{fault}"):
        check_backbone(network, 1, 1, (20, 30), second_derivatives=False)
