"""GenSeg, end to end, and Separate, which trains the generator first and freezes it (GenSeg, Methods, Fig. 7)."""

from abc import abstractmethod
from typing import Any, Literal

from omegaconf import DictConfig
from torch import nn

from genseg_betty.build import build_optimizer, count_parameters
from genseg_betty.data.loading import DataBundle
from genseg_betty.generators.cells import Architecture
from genseg_betty.levels.discretise import discretise
from genseg_betty.levels.graph import hop_configs, joint_plan
from genseg_betty.methods.level_method import LevelMethod
from genseg_betty.multilevel.engine import Phase, PhasedEngine, Plan
from genseg_betty.run import Run
from genseg_betty.run.beyond import GENERATOR_UPDATES, IMAGES_PER_STEP, VALIDATION_IMAGES
from genseg_betty.run.names import (
    DISCRIMINATOR,
    GENERATOR,
    JOINT_PHASE,
    SEGMENTATION_PHASE,
    SEGMENTER,
    WARMUP_PHASE,
)
from genseg_betty.training.components import Components
from genseg_betty.training.warm_up_description import Description, describe_warm_up

AugmentPairs = Literal["none", "segmenter", "both"]


class Generative(LevelMethod):
    """A method with a generator. At the end the Run keeps it twice: as it was searched, and the strongest cells.

    Args:
        real_weight: γ of Eq. 2, the weight of the real pairs beside the synthetic ones.
        augment_pairs: who learns from real pairs that the recipe of conf/augment moves, as the supervised
            baselines do: nobody (as in the paper), the segmenter alone, or both it and the generator.
    """

    has_generator = True
    divides_batches = True

    def __init__(self, real_weight: float = 1.0, augment_pairs: AugmentPairs = "segmenter") -> None:
        self.real_weight = real_weight
        self.augments_generation = augment_pairs == "both"
        self.augments_segmentation = augment_pairs != "none"

    @abstractmethod
    def warmup_steps(self, trainer: DictConfig) -> int:
        """Steps of the generator alone, before all others."""

    def describe_warm_up(self, config: DictConfig, data: DataBundle) -> Description:
        return describe_warm_up(config, data, self.warmup_steps(config.trainer), self.augments_generation)

    def count_beyond(self, components: Components) -> dict[str, int]:
        return {
            IMAGES_PER_STEP: 2 * components.data.settings.batch_size,
            GENERATOR_UPDATES: components.config.trainer.warmup_iterations + components.config.trainer.iterations,
        }

    def finish(self, run: Run, components: Components, engine: PhasedEngine) -> dict[str, Any]:
        architecture, data = components.architecture, components.data
        common = {
            "num_classes": data.num_classes,
            "channels": data.preprocessing.channels,
            "image_size": list(data.preprocessing.image_size),
        }
        alpha = {half: weights.detach().cpu() for half, weights in architecture().items()}
        searched = {"weights": copy_to_cpu(components.generator), "alpha": alpha, **common}
        run.save_checkpoint("generator", searched)

        # The strongest operations alone: a network of its own, which learns on for some steps.
        trainer = run.config.trainer
        strongest, losses = discretise(
            generator=components.generator,
            architecture=architecture,
            engine=engine,
            steps=trainer.finetune_iterations,
            optimizer=lambda part, network: build_optimizer(trainer.optimizers[part], network),
        )
        kept = architecture.kept()
        run.save_checkpoint("generator_strongest", {"weights": copy_to_cpu(strongest), "kept": kept, **common})
        return {
            "architecture": {**architecture.to_lists(), "kept": kept},
            "strongest": losses,
            "parameters": _count_weights(components, strongest),
        }


class GenSeg(Generative):
    """The three stages together: a warm-up of the generator alone, then joint steps."""

    learns_architecture = True

    def warmup_steps(self, trainer: DictConfig) -> int:
        steps: int = trainer.warmup_iterations
        return steps

    def plan(self, components: Components) -> Plan:
        config = components.config
        trainer, hypergradient = config.trainer, config.hypergradient
        hops = hop_configs(hypergradient, trainer.warmup_iterations, config.arch_every)
        stage_one = components.build_stage_one(self.augments_generation, hops[GENERATOR])
        names = tuple(level.name for level in stage_one)
        return joint_plan(
            gan=stage_one,
            segmentation=components.build_segmentation(self.real_weight, self.augments_segmentation, hops[SEGMENTER]),
            architecture=components.build_search(),
            phases=[
                Phase(WARMUP_PHASE, self.warmup_steps(trainer), names),
                Phase(JOINT_PHASE, trainer.iterations, names),
            ],
            hypergradient=hypergradient,
        )

    def count_beyond(self, components: Components) -> dict[str, int]:
        counts = super().count_beyond(components)
        is_searchable = bool(list(components.architecture.parameters()))
        if is_searchable and components.config.hypergradient != "none":
            counts[VALIDATION_IMAGES] = len(components.data.validation)
        return counts

    def find_architecture(self, components: Components) -> Architecture:
        return components.architecture


class Separate(Generative):
    """The same number of updates, but the generator's first and alone; then it is frozen. α stays uniform."""

    def warmup_steps(self, trainer: DictConfig) -> int:
        steps: int = trainer.warmup_iterations + trainer.iterations
        return steps

    def plan(self, components: Components) -> Plan:
        trainer = components.config.trainer
        stage_one = components.build_stage_one(self.augments_generation)
        segmentation = components.build_segmentation(self.real_weight, self.augments_segmentation)
        phases = [
            Phase(WARMUP_PHASE, self.warmup_steps(trainer), tuple(level.name for level in stage_one)),
            Phase(SEGMENTATION_PHASE, trainer.iterations, (segmentation.name,)),
        ]
        return Plan([*stage_one, segmentation], phases)


def copy_to_cpu(module: nn.Module) -> dict[str, Any]:
    """The module's state, on the CPU."""
    return {name: value.cpu() for name, value in module.state_dict().items()}


def _count_weights(components: Components, strongest: nn.Module) -> dict[str, int | None]:
    discriminator = components.discriminator
    return {
        SEGMENTER: count_parameters(components.segmenter),
        GENERATOR: count_parameters(components.generator),
        "generator_strongest": count_parameters(strongest),
        DISCRIMINATOR: None if discriminator is None else count_parameters(discriminator),
    }
