"""The searchable cell: the sum of its operations in either form, with first and second derivatives."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.nn import functional as F

from genseg_betty.errors import UserError
from genseg_betty.generators.cells import OPERATIONS, Architecture, SearchableCell

HALVES = pytest.mark.parametrize("transposed", [False, True], ids=["conv", "upconv"])
FORMS = pytest.mark.parametrize("fused", ["always", "never"])
SIDES = [2, 4, 6, 8, 12]


def cell_pair(transposed: bool, bias: bool = True) -> tuple[SearchableCell, SearchableCell]:
    """The same weights in the fused and in the plain form, float64."""
    fused, plain = (SearchableCell(2, 3, transposed, bias=bias, fused=form).double() for form in ("always", "never"))
    plain.load_state_dict(fused.state_dict())
    return fused, plain


def draw(side: int, transposed: bool, batch: int = 2) -> tuple[Tensor, Tensor]:
    side = side // 2 if transposed else side
    x = torch.randn(batch, 2, side, side, dtype=torch.float64, requires_grad=True)
    return x, torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64, requires_grad=True)


@HALVES
@FORMS
def test_is_the_weighted_sum_of_separate_convolutions(transposed: bool, fused: str) -> None:
    cell = SearchableCell(2, 3, transposed, bias=True, fused=fused)
    x, alpha = torch.randn(2, 2, 8, 12), torch.tensor([0.2, 0.9, 0.4])
    convolve = F.conv_transpose2d if transposed else F.conv2d
    expected = torch.zeros(())
    for weight, operation, (_, stride, padding) in zip(alpha, cell.operations, OPERATIONS, strict=True):
        expected = expected + weight * convolve(x, operation.weight, operation.bias, stride, padding)
    y = cell(x, alpha)
    assert y.shape == ((2, 3, 16, 24) if transposed else (2, 3, 4, 6))
    torch.testing.assert_close(y, expected)


def test_worked_example_of_a_single_pixel() -> None:
    """Kernels of ones: a lone pixel counts in each output whose window of that size covers it."""
    cell = SearchableCell(1, 1, transposed=False, fused="always")
    for operation in cell.operations:
        nn.init.ones_(operation.weight)
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 3, 3] = 1.0
    y = cell(x, torch.tensor([1.0, 10.0, 100.0]))[0, 0]
    # Around output j the windows cover pixels 2j-1..2j+2, 2j-2..2j+3 and 2j-3..2j+4; the lone one is 3.
    assert y[1].tolist() == [110.0, 111.0, 111.0, 100.0]
    assert y[:, 0].tolist() == [110.0, 110.0, 110.0, 100.0]


@HALVES
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("side", SIDES)
def test_both_forms_agree_to_the_second_order(transposed: bool, bias: bool, side: int) -> None:
    """d/d(x, α, W) of a random direction of d/d(x, α, W): what a hop of the hypergradient takes."""
    results = []
    x, alpha = draw(side, transposed)
    for cell in cell_pair(transposed, bias):
        generator = torch.Generator().manual_seed(1)
        leaves = [x, alpha, *cell.parameters()]
        y = cell(x, alpha)
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        directions = [torch.randn(g.shape, generator=generator, dtype=g.dtype) for g in first]
        along = sum((g * d).sum() for g, d in zip(first, directions, strict=True))
        results.append([y, *first, *torch.autograd.grad(along, leaves)])
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-10)


@HALVES
@FORMS
@pytest.mark.parametrize("side", [2, 4])
def test_derivatives_against_finite_differences(transposed: bool, fused: str, side: int) -> None:
    cell = SearchableCell(1, 1, transposed, bias=True, fused=fused).double()
    x = torch.randn(1, 1, *[side // 2 if transposed else side] * 2, dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64, requires_grad=True)
    names = list(dict(cell.named_parameters()))

    def run(x: Tensor, alpha: Tensor, *weights: Tensor) -> Tensor:
        return functional_call(cell, dict(zip(names, weights, strict=True)), (x, alpha)).sin()

    inputs = (x, alpha, *cell.parameters())
    assert gradcheck(run, inputs)
    assert gradgradcheck(run, inputs)


@HALVES
def test_float32_forms_agree_to_rounding(transposed: bool) -> None:
    forms = [SearchableCell(32, 32, transposed, fused=fused) for fused in ("always", "never")]
    forms[1].load_state_dict(forms[0].state_dict())
    x, alpha = torch.randn(2, 32, 16, 16), torch.tensor([0.2, 0.5, 0.3])
    fused, plain = (cell(x, alpha) for cell in forms)
    assert (fused - plain).abs().max() < 1e-5 * plain.abs().max()


@pytest.mark.parametrize(
    ("channels", "batch", "side", "expected"),
    [
        ((64, 128), 2, 128, True),
        ((256, 512), 2, 64, True),
        ((512, 512), 2, 16, False),
        ((512, 512), 2, 4, False),
        ((512, 512), 2, 2, True),
        ((16, 32), 4, 8, True),
    ],
)
def test_auto_fuses_where_positions_outweigh_weights(
    channels: tuple[int, int], batch: int, side: int, expected: bool
) -> None:
    with torch.device("meta"):
        down, up = (SearchableCell(*channels, transposed) for transposed in (False, True))
        assert down.fusing_pays(torch.empty(batch, channels[0], side, side)) is expected
        assert up.fusing_pays(torch.empty(batch, channels[0], side // 2, side // 2)) is expected


@HALVES
@FORMS
@pytest.mark.parametrize("strongest", [0, 1, 2])
def test_keep_strongest_is_the_cell_where_alpha_is_one_hot(transposed: bool, fused: str, strongest: int) -> None:
    cell = SearchableCell(2, 3, transposed, bias=True, fused=fused)
    alpha = F.one_hot(torch.tensor(strongest), 3).float()
    x = torch.randn(2, 2, 8, 8)
    kept = cell.keep_strongest(alpha)
    assert type(kept) is (nn.ConvTranspose2d if transposed else nn.Conv2d)
    torch.testing.assert_close(kept(x), cell(x, alpha), atol=1e-6, rtol=1e-5)


def test_keep_strongest_folds_alpha_in_and_shares_no_memory() -> None:
    cell = SearchableCell(2, 3, transposed=False, bias=True)
    kept = cell.keep_strongest(torch.tensor([0.2, 0.3, 0.5]))
    strongest = cell.operations[2]
    torch.testing.assert_close(kept.weight, 0.5 * strongest.weight)
    torch.testing.assert_close(kept.bias, 0.5 * strongest.bias)
    assert kept.weight.data_ptr() != strongest.weight.data_ptr()
    assert kept.weight.requires_grad


def test_refuses_operations_without_a_common_centre() -> None:
    with pytest.raises(ValueError, match="padding"):
        SearchableCell(1, 1, False, operations=((4, 2, 1), (6, 2, 1)))
    with pytest.raises(UserError, match="auto, always or never"):
        SearchableCell(1, 1, False, fused="sometimes")


@pytest.mark.parametrize("parametrisation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("operations", [2, 3])
def test_architecture_starts_uniform_from_logits_of_zero(parametrisation: str, operations: int) -> None:
    architecture = Architecture(2, 4, OPERATIONS[:operations], parametrisation)
    alpha = architecture()
    assert all(parameter.abs().max() == 0 for parameter in architecture.parameters())
    torch.testing.assert_close(alpha["down"], torch.full((2, operations), 1 / operations))
    torch.testing.assert_close(alpha["up"], torch.full((4, operations), 1 / operations))


def test_architecture_parametrisations() -> None:
    logits = torch.tensor([[1.0, 2.0, -1.0]])
    softmax, sigmoid = (Architecture(1, 0, parametrisation=p) for p in ("softmax", "sigmoid"))
    for architecture in (softmax, sigmoid):
        architecture.load_state_dict({"down_logits": logits})
    total = math.e + math.e**2 + math.e**-1
    torch.testing.assert_close(softmax()["down"], logits.exp() / total)
    # odds start at 1/2, so that the weight starts at 1/3
    odds = logits.exp() / 2
    torch.testing.assert_close(sigmoid()["down"], odds / (1 + odds))
    with pytest.raises(UserError, match="softmax or sigmoid"):
        Architecture(1, 1, parametrisation="gumbel")


def test_architecture_without_cells_in_a_half() -> None:
    architecture = Architecture(0, 2)
    assert [name for name, _ in architecture.named_parameters()] == ["up_logits"]
    assert list(architecture.state_dict()) == ["up_logits"]
    assert architecture()["down"].shape == (0, 3)
    assert architecture.kept() == ["upconv_421"] * 2


def test_architecture_names_what_it_keeps() -> None:
    architecture = Architecture(2, 1)
    with torch.no_grad():
        architecture.down_logits.copy_(torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
        architecture.up_logits.copy_(torch.tensor([[0.0, 0.0, 3.0]]))
    assert architecture.kept() == ["conv_622", "conv_421", "upconv_823"]
    lists = architecture.to_lists()
    assert [len(lists["down"]), len(lists["up"])] == [2, 1]
    assert sum(lists["up"][0]) == pytest.approx(1.0)
