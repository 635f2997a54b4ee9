"""The levels of one Run, built from its config and data: the parts that methods put together."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import torch
from betty.configs import Config
from omegaconf import DictConfig
from torch import nn

from genseg_betty.augment import Augmentation
from genseg_betty.backbones.probe import check_backbone
from genseg_betty.build import (
    build_architecture,
    build_augmentation,
    build_discriminator,
    build_generator,
    build_objective,
    build_optimizer,
    build_segmenter,
)
from genseg_betty.data.batches import Batch, LabelledSet, StepSampler
from genseg_betty.data.loading import DataBundle
from genseg_betty.device import choose_memory_format, resolve_autocast, resolve_device
from genseg_betty.generators.cells import Architecture
from genseg_betty.generators.objectives import Objective
from genseg_betty.levels.architecture import ArchitectureSearch
from genseg_betty.levels.generation import Discrimination, Generation
from genseg_betty.levels.segmentation import Segmentation, SupervisedSegmentation
from genseg_betty.levels.stage import Stage
from genseg_betty.losses import segmentation_loss
from genseg_betty.multilevel.stateful_problem import Conditions
from genseg_betty.randomness import derived_seed

StageT = TypeVar("StageT", bound=Stage)


def draw_batches(labelled: LabelledSet, size: int, seed: int, name: str) -> Callable[[int], Batch]:
    """Count of a step -> batch, in an order that `seed` and `name` determine."""
    sampler = StepSampler(len(labelled.ids), size, derived_seed(seed, "batches", name))

    def draw_batch(count: int) -> Batch:
        return labelled.batch(sampler.indices(count), derived_seed(seed, "patches", name, count))

    return draw_batch


class Components:
    """Builds networks once each, and levels around them; their names are those of the levels, see `Stage.part`."""

    def __init__(self, config: DictConfig, data: DataBundle) -> None:
        self.config = config
        self.data = data
        self.device: torch.device = resolve_device(config.device)
        self.memory_format = choose_memory_format(self.device, data.preprocessing.spatial_dims, config.precision)
        # The few-shot set stays on the device for the whole training.
        self.labelled = {part: getattr(data, part).to(self.device) for part in ("train", "validation")}

    @cached_property
    def segmenter(self) -> nn.Module:
        preprocessing = self.data.preprocessing
        return build_segmenter(self.config, preprocessing.channels, self.data.num_outputs, preprocessing.spatial_dims)

    @cached_property
    def generator(self) -> nn.Module:
        preprocessing = self.data.preprocessing
        return build_generator(self.config, self.data.num_classes, preprocessing.channels, preprocessing.image_size)

    @cached_property
    def discriminator(self) -> nn.Module | None:
        preprocessing = self.data.preprocessing
        return build_discriminator(
            self.config, self.data.num_classes, preprocessing.channels, preprocessing.spatial_dims
        )

    @cached_property
    def architecture(self) -> Architecture:
        return build_architecture(self.config, self.generator).to(self.device)

    @cached_property
    def augmentation(self) -> Augmentation:
        return build_augmentation(self.config, self.data.preprocessing.spacing)

    @cached_property
    def objective(self) -> Objective:
        return build_objective(self.config)

    def build_stage_one(self, augment: bool, betty: Config | None = None) -> list[Stage]:
        """The level of the discriminator where the generator's family has one, then that of the generator."""
        levels: list[Stage] = []
        if self.discriminator is not None:
            levels.append(self.build_level(Discrimination, feed="gan"))
        generation = self.build_level(
            Generation,
            feed="gan",
            betty=betty,
            objective=self.objective,
            architecture=self.architecture,
            augment=self.augmentation if augment else None,
            num_classes=self.data.num_classes,
        )
        return [*levels, generation]

    def build_segmentation(self, real_weight: float, augment_real: bool, betty: Config | None = None) -> Segmentation:
        """Stage II; `betty` where a hypergradient goes through it."""
        is_exact = self.config.hypergradient.startswith("exact")
        self.check_segmenter(second_derivatives=betty is not None and is_exact)
        return self.build_level(
            Segmentation,
            feed="segmenter",
            betty=betty,
            augment=self.augmentation,
            real_weight=real_weight,
            augment_real=augment_real,
            **self.segmenter_options(),
        )

    def build_supervised(self, augment: bool) -> SupervisedSegmentation:
        """The segmenter's level of a method without a generator."""
        self.check_segmenter(second_derivatives=False)
        return self.build_level(
            SupervisedSegmentation,
            feed="segmenter",
            augment=self.augmentation if augment else None,
            **self.segmenter_options(),
        )

    def build_search(self) -> ArchitectureSearch | None:
        """Stage III; None for a generator without searchable cells."""
        if not list(self.architecture.parameters()):
            return None
        # The graph of L_val is walked once for each path of the hypergradient.
        return self.build_level(ArchitectureSearch, feed="validation", betty=Config(retain_graph=True))

    def check_segmenter(self, second_derivatives: bool) -> None:
        """Raise UserError before the first step for a backbone that does not fit the data or the hypergradient."""
        preprocessing = self.data.preprocessing
        size, channels = preprocessing.image_size, preprocessing.channels
        check_backbone(self.segmenter, channels, self.data.num_outputs, size, second_derivatives)

    def segmenter_options(self) -> dict[str, Any]:
        trainer = self.config.trainer
        return {
            "loss": segmentation_loss(trainer.loss, self.data.num_outputs),
            "ema_decay": trainer.ema_decay,
        }

    def build_level(
        self,
        stage: type[StageT],
        *,
        feed: str,
        betty: Config | None = None,
        module: nn.Module | None = None,
        batches: Callable[[int], Batch] | None = None,
        **options: Any,
    ) -> StageT:
        """A level around its network, with an optimizer, batches and the conditions that all levels share.

        Args:
            feed: names the order of its batches; "validation" has them drawn from the validation images.
            betty: Betty's settings of the level.
            module: its network; None: the part of its name.
            batches: its batches; None: labelled ones in the order of `feed`.
            options: further arguments of the level's class.
        """
        own: Any = getattr(self, stage.part) if module is None else module
        network: nn.Module = own.to(self.device, memory_format=self.memory_format)
        autocast = resolve_autocast(self.config.precision, self.device)
        return stage(
            name=stage.part,
            module=network,
            optimizer=build_optimizer(self.config.trainer.optimizers[stage.part], network),
            batches=self._draw_batches(feed) if batches is None else batches,
            conditions=Conditions(self.config.seed, autocast, self.config.precondition),
            config=betty,
            **options,
        )

    def _draw_batches(self, feed: str) -> Callable[[int], Batch]:
        labelled = self.labelled["validation" if feed == "validation" else "train"]
        size = self.data.settings.batch_size
        if feed == "validation":
            size = min(size, len(labelled.ids))
        return draw_batches(labelled, size, self.config.seed, feed)
