"""The end of the search: keep the strongest operation of each cell (GenSeg, Methods, after DARTS).

Dropping the weaker operations changes the images, so the kept generator is trained on for some steps of stage I.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import l1_loss
from torch.optim import Optimizer

from genseg_betty.generators.cells import Architecture
from genseg_betty.levels.generation import Discrimination, Generation
from genseg_betty.multilevel.engine import Phase, PhasedEngine, Plan
from genseg_betty.multilevel.level import Level
from genseg_betty.randomness import seeded

COMPARED_BATCHES = 8


def discretise(
    generator: nn.Module,
    architecture: Architecture,
    engine: PhasedEngine,
    steps: int,
    optimizer: Callable[[str, nn.Module], Optimizer],
) -> tuple[nn.Module, dict[str, float]]:
    """The generator with one operation a cell, α folded in, after `steps` further updates of stage I.

    `engine` and `generator` stay as they are. Beside the generator this returns the L1 distance to the training images
    of the searched generator (`searched`), of the kept operations alone (`before`), and after the further updates
    (`after`). A family whose images are of no given mask has no such distance.

    Args:
        optimizer: makes that of the "generator" or "discriminator" for a network.
    """
    searched: Generation = engine.generator
    kept = generator.keep_strongest(architecture())  # type: ignore[operator]
    levels = _copy_stage_one(engine, kept, optimizer)
    generation = levels[-1]
    plan = Plan(levels, [Phase("finetune", steps, tuple(level.name for level in levels))])
    never = steps + 1  # what diverges here must not cost the training that is over
    finetuning = PhasedEngine(plan, torch.device(engine.device).type, never, engine.backend)

    # The images are compared with the real ones before and after the further updates.
    comparable = not searched.objective.draws_masks
    losses = {}
    if comparable:
        losses["searched"] = _measure_reconstruction(searched)
        losses["before"] = _measure_reconstruction(generation)
    while finetuning.advance() is not None:
        pass
    if comparable:
        losses["after"] = _measure_reconstruction(generation)
    return kept, {**losses, "iterations": steps}


def _copy_stage_one(
    engine: PhasedEngine, kept: nn.Module, optimizer: Callable[[str, nn.Module], Optimizer]
) -> list[Any]:
    """Levels of stage I for the generator `kept` and a copy of the discriminator, the generator's level last."""
    searched: Generation = engine.generator
    levels: list[Level] = []
    if searched.objective.has_discriminator:
        discriminator = copy.deepcopy(engine.discriminator.module)
        discrimination = Discrimination(
            name=Discrimination.part,
            module=discriminator,
            optimizer=optimizer(Discrimination.part, discriminator),
            batches=searched.batches,
            conditions=searched.conditions,
        )
        levels.append(discrimination)
    generation = Generation(
        name=Generation.part,
        module=kept,
        optimizer=optimizer(Generation.part, kept),
        batches=searched.batches,
        conditions=searched.conditions,
        architecture=None,
        num_classes=searched.num_classes,
        objective=searched.objective,
        augment=searched.augment,
    )
    return [*levels, generation]


@torch.no_grad()
def _measure_reconstruction(generation: Generation) -> float:
    """Mean L1 distance of the synthetic images to the real ones, over the first training batches, no dropout.

    What a family draws at random is the same each time.
    """
    generation.module.eval()
    batches = [generation.batches(count).to(generation.device) for count in range(COMPARED_BATCHES)]
    with seeded(0):
        losses = [l1_loss(generation.synthesise(batch.mask)[0], batch.image) for batch in batches]
    generation.module.train()
    return float(torch.stack(losses).mean())
