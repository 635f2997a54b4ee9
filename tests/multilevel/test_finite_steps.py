"""Steps that are made only where they are finite: the same whether the host knows the verdict or the device alone."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode

from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.multilevel import finite_steps
from genseg_betty.multilevel.average import Average
from levels.toy import OPTIMIZERS, advance, batches, toy_engine
from methods.tiny import TINY, built
from states import different

FUSED = {
    "adam": lambda p: Adam(p, lr=0.01, weight_decay=1e-3, fused=True),
    "adamw": lambda p: AdamW(p, lr=0.01, fused=True),
    "sgd": lambda p: SGD(p, lr=0.1, momentum=0.9, fused=True),
    "plain sgd": lambda p: SGD(p, lr=0.1, fused=True),
    "rmsprop": lambda p: RMSprop(p, lr=0.01, momentum=0.9, weight_decay=1e-3),
}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """As if to ask for a number were to wait."""
    monkeypatch.setattr(finite_steps, "answers_at_once", lambda device: False)


class NothingIsAsked(TorchDispatchMode):
    """Refuses what a GPU would have to be waited for: its numbers, and shapes that depend on them."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        # Numbers that were on the CPU before are no work of the GPU: random seeds alone are asked for.
        if name in self.WAITS and not (name == "_local_scalar_dense" and args[0].dtype == torch.int64):
            raise AssertionError(f"{name} waits for the device")
        return function(*args, **(kwargs or {}))


# -- one optimizer -----------------------------------------------------------------------------------------------


def stepped(make, verdicts):
    """Weights and state after a step for each verdict; where it is False the gradient is not finite."""
    source = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.randn(5, generator=source)) for _ in range(2)]
    optimizer = make(weights)
    for sound in verdicts:
        for weight in weights:
            gradient = torch.randn(5, generator=source)
            weight.grad = gradient if sound else gradient / 0
        finite_steps.step_if(torch.tensor(sound), optimizer)
    return {"weights": [w.detach().clone() for w in weights], "state": copy.deepcopy(optimizer.state_dict()["state"])}


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("verdicts", [(True, False, True), (False, True, False, False, True)], ids=str)
def test_a_device_that_is_not_asked_leaves_the_same_weights_and_state(name, verdicts, monkeypatch):
    asked = stepped(FUSED[name], verdicts)
    monkeypatch.setattr(finite_steps, "answers_at_once", lambda device: False)
    found = stepped(FUSED[name], verdicts)
    for state in (asked["state"], found["state"]):
        for values in state.values():
            if name == "rmsprop":  # counts its steps and does not read the count
                values.pop("step")
    assert not different(found, asked)


def test_a_step_that_is_not_guarded_would_spoil_the_weights():
    """So that the test above can fail."""
    weight = nn.Parameter(torch.ones(3))
    optimizer = FUSED["adam"]([weight])
    weight.grad = torch.full((3,), torch.inf)
    optimizer.step()
    assert not torch.isfinite(weight).all()


# -- the levels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("level", ["training", "validation"])
def test_levels_that_ask_nothing_make_the_same_steps(optimizer, level, monkeypatch):
    feed = batches(1 if level == "training" else 4, 3)

    def spoiled(count):
        batch = feed(count)
        batch.image.mul_(torch.nan if count in (1, 2) else 1.0)
        return batch

    asked = advance(toy_engine(optimizer=optimizer, joint=5, **{level: spoiled}), 5)
    monkeypatch.setattr(finite_steps, "answers_at_once", lambda device: False)
    found = advance(toy_engine(optimizer=optimizer, joint=5, **{level: spoiled}), 5)
    assert asked.architecture.guard.skipped == 2
    states = [engine.state_dict()["levels"] for engine in (found, asked)]
    for state in (part for levels in states for part in levels.values()):
        del state["gradient_norm"], state["loss"]  # nan is not equal to nan
        if optimizer == "rmsprop":
            for values in state["optimizer"]["state"].values():
                values.pop("step")
    assert not different(*states)


@pytest.mark.parametrize(
    "overrides",
    [
        ["hypergradient=exact"],
        ["hypergradient=exact_full", "backbone=deeplab"],
        ["hypergradient=finite_difference", "method.augment_pairs=both"],
        ["hypergradient=none", "generator=wgan_gp"],
        ["generator=spade", "precision=bf16", "arch_every=2"],
        ["generator=asapnet", "backbone=swinunet"],
        ["generator=soft_intro_vae"],
        ["generator=bbdm", "generator.discriminator=null"],
        ["method=combine"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_no_step_asks_for_a_number(overrides):
    config = compose([*TINY, "method=genseg", "seed=3", "ood=[]", "trainer.warmup_iterations=1", *overrides])
    engine = advance(built(config, load_data(config))[1], 3)  # the first step of each level does
    with NothingIsAsked():
        advance(engine, 2)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_that_a_number_is_asked_for_would_be_seen():
    """So that the test above can fail."""
    engine = advance(toy_engine(), 2)
    find = engine.segmenter.find_finite
    engine.segmenter.find_finite = lambda: torch.tensor(bool(find()))
    with NothingIsAsked(), pytest.raises(AssertionError, match="_local_scalar_dense waits"):
        advance(engine, 1)


@pytest.mark.gpu
@pytest.mark.parametrize("overrides", [["hypergradient=exact"], ["hypergradient=none", "precision=bf16"]], ids=" ".join)
def test_a_gpu_is_not_waited_for(overrides):
    config = compose([*TINY, "method=genseg", "device=cuda", "ood=[]", "trainer.warmup_iterations=1", *overrides])
    engine = advance(built(config, load_data(config))[1], 3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        advance(engine, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# -- the average -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_the_average_is_that_of_torch_over_the_steps_that_were_made(decay):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)).double()
    average = Average(network, decay)
    torchs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    for sound in (False, True, False, True, True):
        network(torch.randn(2, 1, 8, 8, dtype=torch.float64))  # moves the statistics
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(torch.randn_like(weight))
        average.follow(network, torch.tensor(sound))
        if sound:
            torchs.update_parameters(network)
    assert int(average.n_averaged) == 3
    for (name, mine), its in zip(average.module.state_dict().items(), torchs.module.state_dict().values(), strict=True):
        if mine.is_floating_point():
            torch.testing.assert_close(mine, its, rtol=1e-14, atol=1e-14, msg=name)
        else:  # a count of batches is no number to average
            assert int(mine) == int(network.state_dict()[name])
