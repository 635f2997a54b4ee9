"""The guard that needs no GPU refuses what it is there for, and nothing that a GPU does without waiting."""

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from device.places import CPU, CUDA
from device.two_places import Refused, TwoPlaces, two_places


@pytest.fixture
def places() -> Iterator[TwoPlaces]:
    """Forgets what was refused, as the tests below want it to be."""
    with two_places() as guard:
        yield guard
        guard.refusals.clear()


def on_device(*shape: int) -> Tensor:
    return torch.ones(shape, device="cuda")


MIXED = {
    "addition": lambda: on_device(3) + torch.ones(3),
    "number that is written": lambda: torch.ones(()).add_(on_device()),
    "concatenation": lambda: torch.cat([on_device(1), torch.ones(1)]),
    "list": lambda: torch._foreach_add([on_device(3)], [torch.ones(3)]),
    "weights": lambda: functional.linear(on_device(1, 3), torch.ones(2, 3)),
    "index of the device": lambda: torch.ones(3)[on_device(1).long()],
    "numpy": lambda: on_device(3).numpy(),
    "gradient": lambda: setattr(on_device(3), "grad", torch.ones(3)),
    "generator": lambda: torch.rand(3, device="cuda", generator=torch.Generator()),
}
WAITS = {
    "item": lambda: on_device().item(),
    "branch": lambda: bool(on_device(3).all()),
    "list": lambda: on_device(3).tolist(),
    "equal": lambda: torch.equal(on_device(3), on_device(3)),
    "nonzero": lambda: on_device(3).nonzero(),
    "unique": lambda: on_device(3).unique(),
    "mask that selects": lambda: on_device(3)[on_device(3) > 0],
    "index of main memory": lambda: on_device(3)[torch.tensor([0])],
    "copy to main memory": lambda: on_device(3).cpu(),
    "copy from main memory": lambda: torch.ones(3).to("cuda"),
    "copy that only says it would not block": lambda: torch.ones(3).to("cuda", non_blocking=True),
    "copy in place": lambda: on_device(3).copy_(torch.ones(3)),
    "tensor of numbers": lambda: torch.tensor([1.0], device="cuda"),
    "synchronize": lambda: torch.cuda.synchronize(),
}
FAILS = {
    "normalisation without weights": lambda: torch.ops.aten.native_batch_norm_backward(
        on_device(2, 3, 4), on_device(2, 3, 4), None, None, None, on_device(3), on_device(3), True, 1e-5, [True] * 3
    ),
    "product of integers": lambda: on_device(2, 2).long() @ on_device(2, 2).long(),
    "fused step with other strides": lambda: step_with_gradient(on_device(3, 2).t()),
}
FREE = {
    "number of main memory": lambda: on_device(3) * torch.tensor(2.0),
    "pinned copy": lambda: torch.ones(3).pin_memory().to("cuda", non_blocking=True),
    "filled": lambda: torch.full((3,), 2.0, device="cuda"),
    "chosen": lambda: torch.where(on_device(3) > 0, on_device(3), 0.0),
    "mask that is filled": lambda: on_device(3).masked_fill_(on_device(3) > 0, 2.0),
    "one hot": lambda: functional.one_hot(on_device(3).long(), 2),
    "affine grid": lambda: functional.affine_grid(on_device(1, 2, 3), [1, 1, 4, 4], align_corners=True),
    "fused step": lambda: step_with_gradient(on_device(2, 3)),
    "normalisation without weights": lambda: differentiated(functional.instance_norm),
    "numbers of main memory": lambda: torch.ones(3).sum().item(),
}


def step_with_gradient(gradient: Tensor) -> Tensor:
    weight = nn.Parameter(on_device(2, 3))
    weight.grad = gradient
    torch.optim.Adam([weight], fused=True).step()
    return weight


def differentiated(function: Callable[[Tensor], Tensor]) -> Tensor:
    image = torch.rand(1, 2, 4, 4, device="cuda", requires_grad=True)
    return torch.autograd.grad(function(image).square().sum(), image)[0]


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MIXED)
def test_places_are_not_mixed(name: str, places: TwoPlaces) -> None:
    with pytest.raises(Refused):
        MIXED[name]()


@pytest.mark.parametrize("name", WAITS)
def test_a_step_does_not_wait(name: str, places: TwoPlaces) -> None:
    with places.step(), pytest.raises(Refused, match="a step waits for the device"):
        WAITS[name]()


@pytest.mark.parametrize("name", WAITS)
def test_anything_else_may_wait(name: str, places: TwoPlaces) -> None:
    WAITS[name]()
    with places.step(), places.asking():
        WAITS[name]()
    assert not places.refusals


@pytest.mark.parametrize("name", FAILS)
def test_what_fails_on_cuda_alone_is_refused(name: str, places: TwoPlaces) -> None:
    with pytest.raises(Refused):
        FAILS[name]()


@pytest.mark.parametrize("name", FREE)
def test_what_a_gpu_does_by_itself_is_not_refused(name: str, places: TwoPlaces) -> None:
    with places.step():
        FREE[name]()
    assert not places.refusals


def test_a_refusal_names_operator_and_line(places: TwoPlaces) -> None:
    with pytest.raises(Refused, match=r"aten.add.Tensor: .* two places; \[3\] in main memory .*test_two_places.py:\d+"):
        MIXED["addition"]()


def test_a_refusal_of_the_backward_pass_is_seen(places: TwoPlaces) -> None:
    class Careless(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * torch.ones(2)

    weight = on_device(2).requires_grad_()
    with pytest.raises(Refused, match=r"aten\.mul\.Tensor"):
        torch.autograd.grad(Careless.apply(weight).sum(), weight)


def test_a_refusal_that_was_caught_comes_back_in_the_end() -> None:
    def mix_and_go_on() -> None:
        with two_places(), suppress(AssertionError):
            MIXED["addition"]()

    with pytest.raises(Refused, match=r"aten\.add\.Tensor"):
        mix_and_go_on()


# -- where tensors lie -------------------------------------------------------------------------------------------


def test_a_sent_module_lies_on_the_device(places: TwoPlaces) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).to("cuda")
    module(on_device(1, 1, 8, 8)).sum().backward()
    found = [*module.state_dict().values(), *(weight.grad for weight in module.parameters())]
    found += copy.deepcopy(module).state_dict().values()
    assert {tensor.device for tensor in found} == {CUDA}
    assert all(tensor.is_cuda for tensor in found)


def test_a_view_lies_where_its_base_does(places: TwoPlaces) -> None:
    base = on_device(2, 3)
    views = [base[0], base.t(), base.view(-1), base.detach(), nn.Parameter(base).data]
    assert {view.device for view in views} == {CUDA}
    assert torch.ones(2, 3)[0].device == CPU


MADE_ON_DEVICE = {
    "like": lambda x: torch.zeros_like(x),
    "new": lambda x: x.new_zeros(2),
    "new tensor": lambda x: x.new_tensor([1.0]),
    "named": lambda x: torch.arange(3, device=x.device),
    "as another": lambda x: torch.ones(2).to(x),
    "cuda": lambda x: torch.ones(2).cuda(),
    "computed": lambda x: (x + 1).sum(),
}
MADE_IN_MAIN_MEMORY = {
    "plain": lambda x: torch.zeros(3),
    "like": lambda x: torch.zeros_like(x, device="cpu"),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu", torch.float64),
    "as another": lambda x: x.to(torch.ones(2)),
    "pinned": lambda x: torch.ones(2).pin_memory(),
}


@pytest.mark.parametrize("name", MADE_ON_DEVICE)
def test_made_on_the_device(name: str, places: TwoPlaces) -> None:
    assert MADE_ON_DEVICE[name](on_device(2)).device == CUDA


@pytest.mark.parametrize("name", MADE_IN_MAIN_MEMORY)
def test_made_in_main_memory(name: str, places: TwoPlaces) -> None:
    assert MADE_IN_MAIN_MEMORY[name](on_device(2)).device == CPU


def test_gradients_go_back_to_where_a_tensor_came_from(places: TwoPlaces) -> None:
    weight = torch.ones(3, requires_grad=True)
    (weight.to("cuda") * on_device(3)).sum().backward()
    assert weight.grad.device == CPU


def test_files_remember_places(places: TwoPlaces, tmp_path) -> None:
    torch.save({"here": torch.ones(2), "there": on_device(2)}, tmp_path / "state.pt")
    found = [torch.load(tmp_path / "state.pt", map_location=place) for place in (None, "cpu", "cuda")]
    devices = [[state[name].device for name in ("here", "there")] for state in found]
    assert devices == [[CPU, CUDA], [CPU, CPU], [CUDA, CUDA]]


def test_afterwards_all_is_as_it_was() -> None:
    before = (torch.cuda.is_available(), torch.autocast.__init__, torch.autograd._engine_run_backward)
    with two_places():
        assert torch.cuda.is_available()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            assert (on_device(2, 2) @ on_device(2, 2)).dtype == torch.bfloat16
    assert (torch.cuda.is_available(), torch.autocast.__init__, torch.autograd._engine_run_backward) == before
