"""GenSeg, end to end, and Separate, its two-stage rival (GenSeg, Methods and Fig. 7)."""

from abc import abstractmethod
from typing import Any, Literal

from omegaconf import DictConfig
from torch import nn

from genseg_betty.build import build_optimizer, count_parameters
from genseg_betty.data.loading import DataBundle
from genseg_betty.generators.cells import Architecture
from genseg_betty.levels.discretise import discretise
from genseg_betty.levels.graph import WARMUP, hop_configs, joint_plan
from genseg_betty.methods.level_method import LevelMethod
from genseg_betty.multilevel.engine import Phase, PhasedEngine, Plan
from genseg_betty.run import Run
from genseg_betty.training.components import Workshop
from genseg_betty.training.warm_start import Description, describe

AugmentPairs = Literal["none", "segmenter", "both"]


class Generative(LevelMethod):
    """A method with a generator. At the end the Run keeps it twice: as it was searched, and the strongest cells.

    Args:
        real_weight: γ of Eq. 2, the weight of the real pairs beside the synthetic ones.
        augment_pairs: who learns from real pairs that are rotated, flipped and shifted, as the Combine baseline
            does: nobody (as in the paper), the segmenter alone, or both it and the generator.
    """

    has_generator = True

    def __init__(self, real_weight: float = 1.0, augment_pairs: AugmentPairs = "segmenter") -> None:
        self.real_weight = real_weight
        self.augments_generation = augment_pairs == "both"
        self.augments_segmentation = augment_pairs != "none"

    @abstractmethod
    def warmup_steps(self, trainer: DictConfig) -> int:
        """Steps of the generator alone, before all others."""

    def warm_up(self, config: DictConfig, data: DataBundle) -> Description:
        return describe(config, data, self.warmup_steps(config.trainer), self.augments_generation)

    def finish(self, run: Run, workshop: Workshop, engine: PhasedEngine) -> dict[str, Any]:
        architecture, data = workshop.architecture, workshop.data
        common = {
            "num_classes": data.num_classes,
            "channels": data.preprocessing.channels,
            "image_size": list(data.preprocessing.image_size),
        }
        alpha = {half: weights.detach().cpu() for half, weights in architecture().items()}
        run.save_checkpoint("generator", {"weights": on_cpu(workshop.generator), "alpha": alpha, **common})
        trainer = run.config.trainer
        kept, losses = discretise(
            workshop.generator,
            architecture,
            engine,
            trainer.finetune_iterations,
            lambda part, network: build_optimizer(trainer.optimizers[part], network),
        )
        saved = {"weights": on_cpu(kept), "kept": architecture.kept(), **common}
        run.save_checkpoint("generator_strongest", saved)
        return {
            "architecture": {**architecture.to_lists(), "kept": architecture.kept()},
            "strongest": losses,
            "parameters": {
                "segmenter": count_parameters(workshop.segmenter),
                "generator": count_parameters(workshop.generator),
                "generator_strongest": count_parameters(kept),
                "discriminator": count_parameters(workshop.discriminator) if workshop.discriminator else None,
            },
        }


class GenSeg(Generative):
    """The three stages together: a warm-up of the generator alone, then joint steps (Eq. 5-8)."""

    learns_architecture = True

    def warmup_steps(self, trainer: DictConfig) -> int:
        steps: int = trainer.warmup_iterations
        return steps

    def plan(self, workshop: Workshop) -> Plan:
        config = workshop.config
        trainer, kind = config.trainer, config.hypergradient
        hops = hop_configs(kind, trainer.warmup_iterations, config.arch_every)
        gan = workshop.gan(self.augments_generation, hops["generator"])
        names = tuple(level.name for level in gan)
        return joint_plan(
            gan,
            workshop.segmentation(self.real_weight, self.augments_segmentation, hops["segmenter"]),
            workshop.search(),
            [Phase(WARMUP, self.warmup_steps(trainer), names), Phase("joint", trainer.iterations, names)],
            kind,
        )

    def architecture(self, workshop: Workshop) -> Architecture:
        return workshop.architecture


class Separate(Generative):
    """The same number of updates, but the generator's first and alone; then it is frozen. α stays uniform."""

    def warmup_steps(self, trainer: DictConfig) -> int:
        steps: int = trainer.warmup_iterations + trainer.iterations
        return steps

    def plan(self, workshop: Workshop) -> Plan:
        trainer = workshop.config.trainer
        gan = workshop.gan(self.augments_generation)
        segmentation = workshop.segmentation(self.real_weight, self.augments_segmentation)
        phases = [
            Phase(WARMUP, self.warmup_steps(trainer), tuple(level.name for level in gan)),
            Phase("segmentation", trainer.iterations, ("segmenter",)),
        ]
        return Plan([*gan, segmentation], phases)


def on_cpu(module: nn.Module) -> dict[str, Any]:
    return {name: value.cpu() for name, value in module.state_dict().items()}
