"""The levels of the semi-supervised methods, built from a config and data."""

from typing import Any, TypeVar

from genseg_betty.backbones.pairs import NetworkPair, require_different
from genseg_betty.backbones.probe import check_backbone
from genseg_betty.build import build_second_segmenter
from genseg_betty.data.unlabelled import draw_mixed_batches
from genseg_betty.semisupervised.level import PairLevel, SemiSupervisedLevel
from genseg_betty.training.components import Components, check_segmenter, draw_batches

LevelT = TypeVar("LevelT", bound=SemiSupervisedLevel)
PairT = TypeVar("PairT", bound=PairLevel)


def build_semi_supervised(
    components: Components,
    stage: type[LevelT],
    augment: bool,
    own_batches: bool = False,
    unlabelled_per_labelled: int = 1,
    **options: Any,
) -> LevelT:
    """A level that sees unlabelled images beside the labelled ones of a step, which are those of every method.

    Args:
        augment: move both as conf/augment says.
        own_batches: a second network has labelled batches of its own.
        unlabelled_per_labelled: how many unlabelled images there are for each labelled one.
        options: further arguments of the level's class.
    """
    check_segmenter(components, second_derivatives=False)
    config, train = components.config, components.labelled["train"]
    size = components.data.settings.batch_size
    unlabelled = components.data.unlabelled
    assert unlabelled is not None
    second = draw_batches(train, size, config.seed, "second segmenter") if own_batches else None
    batches = draw_mixed_batches(
        labelled=draw_batches(train, size, config.seed, "segmenter"),
        unlabelled=unlabelled.to(components.device),
        size=unlabelled_per_labelled * size,
        steps=config.trainer.iterations,
        seed=config.seed,
        second=second,
    )
    return components.build_level(
        stage,
        feed="segmenter",
        batches=batches,
        augment=components.augmentation if augment else None,
        **components.segmenter_options(),
        **options,
    )


def build_paired(
    components: Components, stage: type[PairT], augment: bool, own_batches: bool = False, **options: Any
) -> PairT:
    """As `build_semi_supervised`, of two networks: the segmenter of the config, and config.second_backbone.

    Raises UserError where the second network does not fit the data, or has the structure of the first.
    """
    preprocessing = components.data.preprocessing
    form = preprocessing.channels, components.data.num_outputs
    second = components.build_backbone(build_second_segmenter)
    require_different(components.segmenter, second, components.config.second_backbone.name)
    check_backbone(second, *form, preprocessing.image_size, second_derivatives=False)
    module = NetworkPair(components.segmenter, second)
    return build_semi_supervised(components, stage, augment, own_batches, module=module, **options)
