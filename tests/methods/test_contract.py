"""What every generator and every backbone promises within the three levels: a new YAML is tested at once.

Each trains a few joint steps, and α's hypergradient is that of plain autograd in float64, which writes one joint step
down once more with the losses of its family. `make test` takes each generator and each backbone once, `make test-slow`
every pair that makes sense.
"""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from torch.func import functional_call

from genseg_betty.backbones.dimensions import FOR_VOLUMES
from genseg_betty.build import build_objective
from genseg_betty.config import compose, group_members
from genseg_betty.data.batches import LabelledSet
from genseg_betty.data.loading import DataBundle, load_data
from genseg_betty.generators.encoding import decode_mask, encode_mask
from genseg_betty.randomness import seeded
from methods.tiny import TINY, built
from states import different, joined, relative_error

GENERATORS, BACKBONES = group_members("generator"), group_members("backbone")
SIDE = 32
STEPS_BEFORE = 2  # joint ones, so that α has moved
REAL_WEIGHT = 0.7
SMALL = {
    "asapnet": ["generator.blocks=1", "generator.mlp_layers=2"],
    "bbdm": ["generator.objective.steps=3"],
    "spade": ["generator.hidden_channels=4"],
    "soft_intro_vae": ["generator.latent_channels=4"],
    "wgan_gp": ["generator.latent_channels=4"],
    "swinunet": [
        "backbone.base_channels=8",
        "backbone.depths=[1, 1]",
        "backbone.decoder_depths=[1]",
        "backbone.window=4",
    ],
    "monai": ["backbone.net=UNet", "backbone.arguments={channels: [4, 8], strides: [2], num_res_units: 1}"],
}
ENCODERS = {name: ["backbone.encoder=resnet18"] for name in ("unet", "deeplab", "smp")}


def case(generator: str, backbone: str, classes: int = 2, volumes: bool = False) -> Any:
    name = f"{generator}-{backbone}-{classes} classes-{'3D' if volumes else '2D'}"
    quick = "unet_classic" in (backbone, generator) or generator in ("pix2pix", "pix2pix3d")
    quick = quick and (backbone, volumes) != ("unet3d", True)
    return pytest.param(generator, backbone, classes, volumes, id=name, marks=[] if quick else pytest.mark.slow)


FLAT = [name for name in GENERATORS if not name.endswith("3d")]
CASES = [
    *(case(generator, "unet_classic") for generator in FLAT),
    *(case("pix2pix", backbone) for backbone in BACKBONES if backbone != "unet_classic"),
    *(case(generator, "unet_classic", classes=3) for generator in FLAT),
    *(
        case("pix2pix3d", backbone, classes, volumes=True)
        for backbone, classes in zip(FOR_VOLUMES, (3, 2), strict=True)
    ),
    *(case(g, b, c) for g in FLAT for b in BACKBONES for c in (2, 3) if g != "pix2pix" and b != "unet_classic"),
]


@cache
def folder(classes: int, volumes: bool) -> Path:
    """Six cases: a bright ball in noise, its upper half of another class where there are three."""
    import tempfile

    root = Path(tempfile.mkdtemp(prefix="contract"))
    axes = 3 if volumes else 2
    grid = np.indices((SIDE,) * axes)
    for index in range(6):
        random = np.random.default_rng(index)
        centre = random.integers(12, 20, axes).reshape(-1, *(1,) * axes)
        ball = ((grid - centre) ** 2).sum(axis=0) < 64
        image = random.integers(0, 100, ball.shape) + 120 * ball
        mask = ball * (1 + (grid[0] < centre[0]) * (classes == 3))
        for part, array in (("images", image), ("masks", mask)):
            (root / part).mkdir(exist_ok=True)
            if volumes:
                nibabel.save(nibabel.Nifti1Image(array.T.astype(np.uint8), np.eye(4)), root / part / f"c{index}.nii.gz")
            else:
                Image.fromarray(array.astype(np.uint8)).save(root / part / f"c{index}.png")
    return root


def overrides(generator: str, backbone: str, classes: int, volumes: bool) -> list[str]:
    names = ["background", "low", "high"][:classes]
    size = [SIDE] * (3 if volumes else 2)
    given = [
        *(key for key in TINY if "discriminator" not in key and "backbone" not in key and "phantom" not in key),
        "dataset=folder", f"dataset.root={folder(classes, volumes)}", f"dataset.classes=[{','.join(names)}]",
        f"generator={generator}", f"backbone={backbone}", f"image_size={size}", "precision=fp32", "seed=7",
        f"method.real_weight={REAL_WEIGHT}", "trainer.warmup_iterations=1", "trainer.iterations=4",
        "trainer.finetune_iterations=1", "trainer.small.base_channels=4", "trainer.small.max_channels=8",
        *(f"trainer.optimizers.{part}={{name: sgd, lr: {rate}}}" for part, rate in RATES.items()),
        *SMALL.get(generator, []), *SMALL.get(backbone, []), *ENCODERS.get(backbone, []),
    ]  # fmt: skip
    if generator != "bbdm":
        given.append("generator.discriminator.base_channels=4")
    return given


RATES = {"segmenter": 1e-2, "generator": 1e-3, "discriminator": 1e-3}


def data_of(config: Any) -> DataBundle:
    data = load_data(config)
    for part in ("train", "validation"):
        labelled = getattr(data, part)
        setattr(data, part, LabelledSet(labelled.ids, labelled.images.double(), labelled.masks))
    return data


class Before:
    """Weights and buffers of a level before the step under test."""

    def __init__(self, level: Any) -> None:
        self.weights = {name: p.detach().clone() for name, p in level.module.named_parameters()}
        self.buffers = {name: b.clone() for name, b in level.module.named_buffers()}

    def leaves(self) -> dict[str, torch.Tensor]:
        return {name: w.clone().requires_grad_() for name, w in self.weights.items()}

    def called(self, module: Any, weights: dict[str, torch.Tensor]) -> Any:
        """`module` with these weights and buffers of its own."""
        buffers = {name: b.clone() for name, b in self.buffers.items()}
        return lambda *inputs: functional_call(module, {**weights, **buffers}, inputs)


def descended(level: Any, before: Before, leaves: dict[str, torch.Tensor], loss: torch.Tensor) -> dict[str, Any]:
    """The weights after a step of plain gradient descent; frozen ones stay."""
    live = {name for name, p in level.module.named_parameters() if p.requires_grad}
    names = [name for name in leaves if name in live]
    gradients = torch.autograd.grad(
        loss, [leaves[name] for name in names], create_graph=True, allow_unused=True, materialize_grads=True
    )
    rate = level.optimizer.param_groups[0]["lr"]
    return before.weights | {
        name: before.weights[name] - rate * gradient for name, gradient in zip(names, gradients, strict=True)
    }


def reference(engine: Any, before: dict[str, Before]) -> torch.Tensor:
    """dL_val/dA through G′ and S′ (Eq. 9), learning rates included."""
    G, S, A = engine.generator, engine.segmenter, engine.architecture
    leaves_a = before["architecture"].leaves()
    alpha = functional_call(A.module, leaves_a, ())
    at_rest = {half: weights.detach() for half, weights in alpha.items()}

    held, batch = before["generator"], G.batches(G.count - 1)
    leaves = held.leaves()
    network = held.called(G.module, leaves)
    condition = encode_mask(batch.mask, G.num_classes).double()
    # H has made its step by then.
    discriminator = engine.discriminator.module if G.objective.has_discriminator else None
    with seeded(G.moment_of(G.count).find_seed()):
        generate = lambda *inputs: network(*inputs, alpha)  # noqa: E731
        loss = G.objective.generator_loss(generate, discriminator, condition, batch.image)
    new_g = descended(G, held, leaves, loss)

    drawing = held.called(G.module, new_g)
    held, batch = before["segmenter"], S.batches(S.count - 1)
    leaves = held.leaves()
    with seeded(S.moment_of(S.count).find_seed()):
        mask = S.augment.mask(batch.mask)
        condition = encode_mask(mask, G.num_classes).double()
        image, drawn = G.objective.draw(lambda *inputs: drawing(*inputs, at_rest), condition)
        image = S.augment.image(image)
        target = mask if drawn is condition else decode_mask(drawn)
        loss = S.criterion(held.called(S.module, leaves)(image), target)
        real_image, real_mask = S.augment.pair(batch.image, batch.mask)
        loss = loss + REAL_WEIGHT * S.criterion(held.called(S.module, leaves)(real_image), real_mask)
    new_s = descended(S, held, leaves, loss)

    batch = A.batches(A.count - 1)
    S.module.eval()
    logits = functional_call(S.module, {**new_s, **dict(S.module.named_buffers())}, (batch.image,))
    S.module.train()
    made = joined(S.module.parameters())
    assert relative_error(joined(new_s[name] for name in before["segmenter"].weights), made) < 1e-9
    return joined(torch.autograd.grad(S.criterion(logits, batch.mask), list(leaves_a.values())))


@pytest.mark.parametrize(("generator", "backbone", "classes", "volumes"), CASES)
def test_joint_steps(generator: str, backbone: str, classes: int, volumes: bool) -> None:
    config = compose(overrides(generator, backbone, classes, volumes))
    data = data_of(config)
    components, engine = built(config, data, dtype=torch.float64)
    while engine.segmenter.count < STEPS_BEFORE:
        engine.advance()
    before = {level.name: Before(level) for level in engine.levels}
    seen: list[torch.Tensor] = []
    search = engine.architecture
    step = search.optimizer.step
    search.optimizer.step = lambda: (seen.extend(p.grad.clone() for p in search.trainable_parameters()), step())
    engine.advance()
    assert all(level.guard.skipped == 0 for level in engine.levels)  # losses and gradients were finite
    found, expected = joined(seen), reference(engine, before)
    assert expected.norm() > 0
    assert relative_error(found * RATES["generator"] * RATES["segmenter"], expected) < 1e-7

    again = built(config, data, dtype=torch.float64)[1]
    again.load_state_dict(copy.deepcopy(engine.state_dict()))
    engine.advance()
    again.advance()
    assert not different(engine.state_dict(), again.state_dict())

    alpha = components.architecture()
    kept = components.generator.keep_strongest(alpha).eval()
    condition = encode_mask(data.train.masks[:1], data.num_classes).double()
    objective = build_objective(config)
    with torch.no_grad(), seeded(0):
        image, _ = objective.draw(lambda *inputs: kept(*inputs, None), condition)
    assert image.shape == data.train.images[:1].shape
    assert image.isfinite().all()
    assert image.abs().max() <= 1
