"""Small smooth networks in float64, and the method's graph over them."""

from collections.abc import Callable

import torch
from betty.configs import Config
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from genseg_betty.augment import Augmentation
from genseg_betty.data.batches import Batch
from genseg_betty.generators.cells import Architecture, SearchableCell
from genseg_betty.generators.objectives import ConditionalGAN
from genseg_betty.levels.architecture import ArchitectureSearch
from genseg_betty.levels.generation import Discrimination, Generation
from genseg_betty.levels.graph import hop_configs, joint_plan
from genseg_betty.levels.segmentation import Segmentation
from genseg_betty.losses import segmentation_loss
from genseg_betty.multilevel.engine import Phase, PhasedEngine
from genseg_betty.multilevel.stateful_problem import Conditions

SIZE = 8
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True, dampening=0.0),
    "adam": lambda p: Adam(p, lr=0.01, betas=(0.5, 0.999), weight_decay=1e-3),
    "adamw": lambda p: AdamW(p, lr=0.01, weight_decay=1e-2),
    "rmsprop": lambda p: RMSprop(p, lr=0.01, momentum=0.9, weight_decay=1e-3),
}


class ToyGenerator(nn.Module):
    """One searchable cell down, one up, smooth activations, dropout."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.down = SearchableCell(1, 3, transposed=False, bias=True)
        self.norm = norm(3)
        self.dropout = nn.Dropout(0.3)
        self.up = SearchableCell(3, 1, transposed=True, bias=True)

    def forward(self, condition: Tensor, alpha: dict[str, Tensor]) -> Tensor:
        hidden = self.dropout(torch.tanh(self.norm(self.down(condition, alpha["down"][0]))))
        return torch.tanh(self.up(hidden, alpha["up"][0]))


class ToyDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(2, 3, 4, 2, 1), nn.Tanh(), nn.Conv2d(3, 1, 3, padding=1))

    def forward(self, condition: Tensor, image: Tensor) -> Tensor:
        return self.layers(torch.cat([condition, image], dim=1))


def toy_segmenter(norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), norm(4), nn.Softplus(), nn.Dropout(0.3), nn.Conv2d(4, 1, 3, padding=1)
    )


def batches(seed: int, size: int = 3) -> Callable[[int], Batch]:
    def batch(count: int) -> Batch:
        source = torch.Generator().manual_seed(seed * 1000 + count)
        image = torch.rand(size, 1, SIZE, SIZE, generator=source, dtype=torch.float64) * 2 - 1
        mask = (torch.rand(size, SIZE, SIZE, generator=source) > 0.5).long()
        return Batch(image, mask, [str(i) for i in range(size)])

    return batch


def toy_engine(
    hypergradient: str = "exact",
    optimizer: str = "adam",
    warmup: int = 0,
    joint: int = 4,
    arch_every: int = 1,
    precondition: str = "step",
    validation: Callable[[int], Batch] | None = None,
    training: Callable[[int], Batch] | None = None,
    max_nonfinite: int = 20,
    size: int = 3,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    augment: Augmentation | None = None,
) -> PhasedEngine:
    torch.manual_seed(3)
    networks = [ToyDiscriminator(), ToyGenerator(norm), toy_segmenter(norm), Architecture(1, 1)]
    for network in networks:
        network.double()
    with torch.no_grad():
        for parameter in networks[3].parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    make = OPTIMIZERS[optimizer]
    conditions = Conditions(seed=5, precondition=precondition)
    training = training or batches(1, size)
    loss = segmentation_loss("bce_dice", 1)

    def level(kind: type, name: str, network: nn.Module, feed: Callable, config: Config, **extra: object):
        return kind(name, network, make(network.parameters()), feed, conditions, config, **extra)

    hops = hop_configs(hypergradient, warmup, arch_every)
    discrimination = level(Discrimination, "discriminator", networks[0], training, Config())
    generation = level(
        Generation, "generator", networks[1], training, hops["generator"],
        architecture=networks[3], num_classes=2, objective=ConditionalGAN(10.0),
    )  # fmt: skip
    segmentation = level(
        Segmentation, "segmenter", networks[2], batches(2, size), hops["segmenter"],
        augment=augment or Augmentation(), real_weight=0.7, loss=loss, ema_decay=0.9,
    )  # fmt: skip
    search = level(
        ArchitectureSearch, "architecture", networks[3], validation or batches(4, 2), Config(retain_graph=True)
    )
    leaves = ("discriminator", "generator")
    phases = [Phase("warmup", warmup, leaves), Phase("joint", joint, leaves)]
    plan = joint_plan([discrimination, generation], segmentation, search, phases, hypergradient)
    return PhasedEngine(plan, max_nonfinite=max_nonfinite)


def advance(engine: PhasedEngine, steps: int) -> PhasedEngine:
    """The engine, `steps` steps on; none of them is past its end."""
    for _ in range(steps):
        assert engine.advance() is not None
    return engine
