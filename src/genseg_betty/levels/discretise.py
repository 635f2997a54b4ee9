"""The end of the search: keep the strongest operation of each cell (GenSeg, Methods, after DARTS).

Dropping the weaker operations changes the images, so the kept generator is trained on for some steps of stage I.
"""

import copy

import torch
from torch import nn
from torch.nn.functional import l1_loss
from torch.optim import Adam

from genseg_betty.generators.cells import Architecture
from genseg_betty.levels.engine import GenSegEngine, Phase, Plan
from genseg_betty.levels.generation import Discrimination, Generation


@torch.no_grad()
def _reconstruction(generation: Generation) -> float:
    """Mean L1 distance of the synthetic images to the real ones, over one pass of training batches, no dropout."""
    generation.module.eval()
    batches = [generation.batches(count).to(generation.device) for count in range(8)]
    losses = [l1_loss(generation.synthesise(batch.mask), batch.image) for batch in batches]
    generation.module.train()
    return float(torch.stack(losses).mean())


def discretise(
    generator: nn.Module, architecture: Architecture, engine: GenSegEngine, steps: int
) -> tuple[nn.Module, dict[str, float]]:
    """The generator with one operation a cell, α folded in, after `steps` further updates of stage I.

    Returns it with the L1 distance to the training images of the searched generator (`searched`), of the kept
    operations alone (`before`) and after the further updates (`after`). `engine` and `generator` stay as they are.
    """
    searched: Generation = engine.generation
    kept = generator.keep_strongest(architecture())  # type: ignore[operator]

    def level(kind: type, network: nn.Module, old: Generation | Discrimination, **extra: object) -> Generation:
        options = {key: value for key, value in old.optimizer.defaults.items() if key in ("lr", "betas")}
        optimizer = Adam(network.parameters(), **options)
        return kind(old.name, network, optimizer, old.batches, old.conditions, **extra)

    discrimination = level(Discrimination, copy.deepcopy(engine.discrimination.module), engine.discrimination)
    generation = level(
        Generation,
        kept,
        searched,
        architecture=None,
        num_classes=searched.num_classes,
        l1_weight=searched.l1_weight,
        augment=searched.augment,
    )
    phase = Phase("finetune", steps, ("discrimination", "generation"))
    finetuning = GenSegEngine(Plan([discrimination, generation], [phase]), torch.device(engine.device).type)
    losses = {"searched": _reconstruction(searched), "before": _reconstruction(generation)}
    while finetuning.advance() is not None:
        pass
    return kept, {**losses, "after": _reconstruction(generation), "iterations": steps}
