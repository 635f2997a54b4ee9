"""What a level of GenSeg tells of itself to those who build it, size it, try it and log it."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from genseg_betty.augment import Augmentation
from genseg_betty.data.batches import Batch
from genseg_betty.joint_batch import divided_batch, take_rows
from genseg_betty.multilevel.level import Level

Networks = Sequence[Callable[..., Any]]
"""Modules as functions of their inputs, at weights that the caller has chosen."""
Computation = Callable[[Networks, Tensor, Tensor], Any]
"""Takes networks, images [B, C, *] and encoded masks [B, M, *]."""


class Trial(NamedTuple):
    """A computation that can be tried at other weights than the level's own.

    Attributes:
        modules: what it goes through, the level's own module first.
        run: the computation, which is given these modules as functions.
    """

    modules: list[nn.Module]
    run: Computation


class Stage(Level):
    """A level of one of the three stages.

    Attributes:
        part: the name of the level, of its network and of its section of `trainer.optimizers`.
        is_stage_one: whether the warm-up trains it.
        is_network: whether its module has a pass whose size is told before the training.
        holds_average: whether it keeps an average of its weights beside them.
        records_step: whether a hypergradient can go through its step, which is then recorded.
        logs_gradient: whether the norm of its gradient is logged.
    """

    part: ClassVar[str]
    is_stage_one: ClassVar[bool] = False
    is_network: ClassVar[bool] = True
    holds_average: ClassVar[bool] = False
    records_step: ClassVar[bool] = True
    logs_gradient: ClassVar[bool] = False

    @abstractmethod
    def dry_pass(self) -> Trial:
        """The level's network alone, once."""

    def dry_step(self) -> Trial:
        """What keeps as many bytes for its backward pass as the level's loss, and goes through the same networks."""
        return self.dry_pass()


def take_pairs(batch: Batch, augment: Augmentation | None) -> tuple[Tensor, Tensor]:
    """Image and mask of the real pairs of a batch, moved together by `augment`; None: as they are.

    Of several processes each moves the whole batch, as objects may be pasted from one image to another, and takes its
    share of the result.
    """
    image, mask = batch.image, batch.mask
    if augment is not None:
        with divided_batch(1):
            image, mask = augment.pair(image, mask)
    return take_rows(image), take_rows(mask)


def take_masks(batch: Batch, augment: Augmentation) -> Tensor:
    """The masks of a batch, moved by `augment`; of several processes each takes its share, as of pairs."""
    with divided_batch(1):
        mask = augment.mask(batch.mask)
    return take_rows(mask)


def select_stages(levels: Iterable[Level]) -> list[Stage]:
    """Those of an engine's levels that tell of themselves."""
    return [level for level in levels if isinstance(level, Stage)]
