"""What one process computes alone and several compute together: toy trainings, layers, losses and random numbers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genseg_betty.augment import Augmentation
from genseg_betty.backbones.checkpointing import checkpoint_blocks
from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.errors import UserError
from genseg_betty.joint_batch import ask_first, find_greatest, take_rows
from genseg_betty.levels.generation import Generation
from genseg_betty.losses import segmentation_loss
from genseg_betty.multilevel.divided_step import divide_step
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.multilevel.hypergradient import exact
from genseg_betty.multilevel.joint_gradients import average_gradients, find_unlike
from genseg_betty.ranks import find_rank
from levels.toy import advance, batches, toy_engine
from methods.tiny import TINY, built
from rounding import to_float64
from states import flat

STEPS_BEFORE = 3  # so that moments and statistics are not at rest
INTENSITY = {
    "noise": {"probability": 0.7, "range": [0.1, 0.5]},
    "gamma": {"probability": 0.7, "range": [0.7, 1.5]},
}
CASES: dict[str, dict[str, Any]] = {
    "exact without BatchNorm": {"hypergradient": "exact", "norm": nn.Identity},
    "exact": {"hypergradient": "exact"},
    "exact_full without BatchNorm": {"hypergradient": "exact_full", "norm": nn.Identity},
    "exact_full": {"hypergradient": "exact_full"},
    "finite_difference": {"hypergradient": "finite_difference"},
    "a validation batch of 3": {"validation": batches(4, 3)},
}
"""Arguments of `toy_engine`; the optimizer is Adam, the joint batch has 4 images, that of the validation 2."""


def train_toy(case: str) -> dict[str, Any]:
    """A toy training of four steps, the gradient of A in each of its steps, and the last losses."""
    engine = build_engine(case)
    gradients = []
    step = engine.architecture.optimizer.step
    learning = engine.architecture.trainable_parameters()
    engine.architecture.optimizer.step = lambda: (gradients.append([p.grad.clone() for p in learning]), step())
    advance(engine, STEPS_BEFORE + 1)
    losses = {level.name: level.loss for level in engine.levels}
    return {"gradients": gradients, "losses": losses, "state": numbers_of(engine)}


def build_engine(case: str) -> PhasedEngine:
    augment = Augmentation(intensity=INTENSITY, copy_paste=0.5)
    engine = toy_engine(**{"size": 4, "augment": augment, **CASES[case]})
    engine.segmenter.augment_real = True
    generation: Generation = engine.generator
    generation.augment = augment
    return engine


def train_package() -> dict[str, Any]:
    """Two steps of A with the package's own networks and data, in float64, after three of warm-up."""
    config = compose([*TINY, "method=genseg", "copy_paste=0.5", "ood=[]", "trainer.warmup_iterations=3"])
    _, engine = built(config, load_data(config))
    to_float64(engine)
    gradients = []
    for _ in range(6):
        engine.advance()
        if engine.architecture.count:
            gradients.append(engine.architecture.guard.gradient_norm.clone())
    losses = {level.name: level.loss for level in engine.levels}
    return {"gradients": gradients, "losses": losses, "state": numbers_of(engine)}


def numbers_of(engine: PhasedEngine) -> dict[str, Tensor]:
    """All floating-point numbers of the engine's state: weights, buffers, averages and moments."""
    leaves = flat(engine.state_dict())
    return {place: value for place, value in leaves.items() if torch.is_tensor(value) and value.is_floating_point()}


def multiply_hops(case: str) -> dict[str, list[Tensor]]:
    """The products of random vectors with the derivative of S' by G' and of G' by A, each hop by itself."""
    engine = advance(build_engine(case), STEPS_BEFORE)
    products = {}

    def make_hop(level: Any, lower: Any) -> None:
        source = torch.Generator().manual_seed(11)
        vector = [torch.randn(p.shape, generator=source, dtype=p.dtype) for p in level.trainable_parameters()]
        products[level.name] = [*average_gradients(exact(vector, level, lower, sync=False))]

    engine.architecture.backward = lambda *_, **__: (
        make_hop(engine.segmenter, engine.generator), make_hop(engine.generator, engine.architecture)
    )  # fmt: skip
    advance(engine, 1)
    return products


def differentiate_twice(function: Callable[[Tensor, Tensor], Tensor], outputs: int) -> dict[str, Tensor]:
    """Of a loss of (images, weights): value, gradients, and the gradients of ⟨gradients, random vectors⟩.

    Of several processes the images' are those of this one's rows, and the others' are averaged.
    """
    source = torch.Generator().manual_seed(2)
    joint, vectors = torch.randn(2, 4, outputs, 5, 6, generator=source, dtype=torch.float64)
    weights, direction = torch.randn(2, outputs, generator=source, dtype=torch.float64)
    weights.requires_grad_()
    with divide_step():
        x, v = take_rows(joint).clone().requires_grad_(), take_rows(vectors)
        shares = len(joint) // len(x)
        loss = function(x, weights)
        by_x, by_weights = torch.autograd.grad(loss, (x, weights), create_graph=True)
        # The joint loss is the mean of the processes', and so is the joint product the sum of these.
        product = ((by_x * v).sum() + (by_weights * direction).sum()) / shares
        twice_x, twice_weights = torch.autograd.grad(product, (x, weights))
    averaged = average_gradients([loss.detach(), by_weights.detach(), shares * twice_weights])
    return {
        "loss": averaged[0], "by weights": averaged[1], "twice by weights": averaged[2],
        "by images": by_x.detach() / shares, "twice by images": twice_x,
    }  # fmt: skip


def normalise(x: Tensor, weights: Tensor) -> Tensor:
    """A loss behind a batch normalisation, a mean over images."""
    normalised = functional.batch_norm(x, None, None, weights, weights.cos(), training=True)
    return torch.tanh(normalised).square().mean()


def measure_dice(x: Tensor, weights: Tensor) -> Tensor:
    """A loss with the Dice of a batch of images whose masks follow from them."""
    mask = (7 * x.detach()).long().abs().sum(1) % 3
    return segmentation_loss("ce_dice", 3)(x * weights.view(1, -1, 1, 1), mask)


def recompute_blocks(x: Tensor, weights: Tensor) -> Tensor:
    """A loss behind a block, with BatchNorm and dropout, that the backward pass computes again."""
    torch.manual_seed(4)
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.3), nn.Conv2d(4, 2, 3))
    network = checkpoint_blocks(nn.Sequential(block).double())
    return network(x * weights.view(1, -1, 1, 1)).square().mean()


FUNCTIONS = {"batch normalisation": normalise, "Dice": measure_dice, "recomputed blocks": recompute_blocks}


def draw_numbers() -> dict[str, Tensor]:
    """Random numbers of each kind, for this process's share of 6 images; those without an axis are for all."""
    torch.manual_seed(9)
    with divide_step():
        rows = take_rows(torch.linspace(0, 1, 6 * 4 * 5).view(6, 4, 5, 1))
        count = len(rows)
        return {
            "rand": torch.rand(count, 3),
            "rand of a tuple": torch.rand((count, 2), dtype=torch.float64),
            "randn by name": torch.randn(size=(count,)),
            "randn_like": torch.randn_like(rows),
            "randint": torch.randint(1, 9, (count,)),
            "randint for all": torch.randint(2**31, ()),
            "dropout": functional.dropout(rows, 0.4),
            "channel dropout": nn.Dropout2d(0.4)(rows),
            "bernoulli_": rows.new_empty(count, 1).bernoulli_(0.5),
            "dropout at rest": functional.dropout(rows, 0.4, training=False),
        }


def compare_processes() -> dict[str, Any]:
    """What the processes ask each other; of three groups of tensors the second has one bit changed in the others."""
    number = find_rank().number
    changed = torch.ones(3).view(torch.int32)
    changed[1] += number
    groups = {
        "equal": [torch.ones(3), torch.tensor([True])],
        "one bit": [torch.ones(2), changed.view(torch.float32)],
        "counts": [torch.tensor(7)],
    }
    return {
        "unlike": find_unlike(groups),
        "first": ask_first(lambda: {"rank": number}),
        "greatest": find_greatest(10 * number),
        "failure": ask_first_in_vain(),
    }


def ask_first_in_vain() -> str:
    """What is raised where the first process has no answer."""

    def fail() -> None:
        raise ValueError("no answer")

    try:
        ask_first(fail)
    except (ValueError, UserError) as error:
        return str(error)
    return "nothing"


def compute_all() -> dict[str, Any]:
    """All of the above, by name."""
    return {
        "trainings": {case: train_toy(case) for case in CASES},
        "package": train_package(),
        "hops": {case: multiply_hops(case) for case in ("exact without BatchNorm", "exact")},
        "derivatives": {name: differentiate_twice(function, 3) for name, function in FUNCTIONS.items()},
        "draws": draw_numbers(),
        "agreement": compare_processes(),
    }
