"""The dependency graph of GenSeg (Eq. 4), and how a hypergradient passes along it (Eq. 9-11).

Architecture A -> generation G'(A) -> segmentation S'(G') -> architecture. One joint step updates H, G, S and A once
each, in this order; A rests in the first one, see `hop_configs`.
"""

from collections.abc import Sequence

from betty.configs import Config

from genseg_betty.multilevel.engine import Phase, Plan
from genseg_betty.multilevel.level import Level
from genseg_betty.run.names import GENERATOR, SEGMENTER


def hop_configs(hypergradient: str, warmup_steps: int, arch_every: int) -> dict[str, Config]:
    """Betty's settings of the two levels that a hypergradient goes through: how it does, and when they step.

    `exact_full` adds two terms, so the generator's hop keeps its learning rate there (see hypergradient.py).

    The architecture rests in the first joint step. The moments of the segmenter's Adam are zero before it, and without
    a warm-up the generator's: u = g / (|g| + ε), and du/dg is 0 but for the rounding of g. Two computations of one
    hypergradient then differ by 9 % (20 warm-up steps) to 3000 % (none), and from the second step on by 1e-6.
    """
    through_segmenter = "finite_difference" if hypergradient == "finite_difference" else "exact"
    through_generator = "exact_with_rate" if hypergradient == "exact_full" else through_segmenter
    return {
        GENERATOR: Config(type=through_generator, warmup_steps=warmup_steps),
        SEGMENTER: Config(type=through_segmenter, unroll_steps=arch_every, warmup_steps=1),
    }


def joint_plan(
    gan: Sequence[Level], segmentation: Level, architecture: Level | None,
    phases: list[Phase], hypergradient: str,
) -> Plan:  # fmt: skip
    """GenSeg's graph (Eq. 4). With the hypergradient `none` G still trains beside the segmenter, and A rests.

    Args:
        gan: stage I: the discriminator's level where there is one, then the generator's.
        segmentation: stage II.
        architecture: stage III; None for a generator without searchable cells.
    """
    generation = gan[-1]
    if hypergradient == "none" or architecture is None:
        return Plan([*gan, segmentation], phases, lower_to_upper={generation: [segmentation]})
    levels = [*gan, segmentation, architecture]  # order of the steps
    upper_to_lower = {architecture: [generation]}  # A shapes G
    if hypergradient == "exact_full":
        upper_to_lower = {architecture: [generation, segmentation]}  # and Î itself
    lower_to_upper = {generation: [segmentation], segmentation: [architecture]}  # G′ → S′ → L_val
    return Plan(levels, phases, upper_to_lower, lower_to_upper, hypergradient)
