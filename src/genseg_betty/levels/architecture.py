"""Stage III: the generator's architecture A = {α}, by the segmenter's loss on real validation images.

GenSeg, Eq. 3 and 8. The loss reaches A through S' and G' alone, by the hypergradient of Eq. 9-11.

In L_val the segmenter uses BatchNorm's running statistics: that is how it is used afterwards, a validation
set of one or two images gives no statistics worth having, and nothing of it may enter the segmenter's buffers.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from genseg_betty.data.batches import Batch
from genseg_betty.joint_batch import divided_if_even
from genseg_betty.levels.stage import Stage, Trial, take_pairs
from genseg_betty.memory import return_freed
from genseg_betty.multilevel.joint_gradients import average_grads_of
from genseg_betty.multilevel.level import Level
from genseg_betty.run.names import ARCHITECTURE


class ArchitectureSearch(Stage):
    """A minimises the validation loss of the segmenter that its images trained (Eq. 3 and 8)."""

    part: ClassVar[str] = ARCHITECTURE
    is_network: ClassVar[bool] = False
    logs_gradient: ClassVar[bool] = True

    @property
    def allows_bfloat16(self) -> bool:
        return False

    def training_step(self, batch: Batch) -> Tensor:
        return_freed()  # the graphs of stage I and II are still held, and now comes that of L_val
        # At the live weights S′: no buffer changes, and no random number is drawn.
        with self.segmenter.evaluating(), divided_if_even(len(batch.ids)):
            image, mask = take_pairs(batch, None)
            return self.segmenter.criterion(self.segmenter(image), mask)  # L_seg(S′, D_val)

    def backward(self, loss: Tensor, params: list[nn.Parameter], paths: list[Any], **betty: Any) -> None:
        """Betty's walk along the paths A -> G' -> S' -> L_val; none where a level below is known to have rested."""
        if not (self.segmenter.guard.step_skipped or self.generator.guard.step_skipped):
            super(Level, self).backward(loss, params, paths, **betty)
            average_grads_of(params)

    def find_finite(self) -> Tensor:
        lower_steps = self.segmenter.guard.step_finite & self.generator.guard.step_finite
        return super().find_finite() & lower_steps

    def dry_pass(self) -> Trial:
        return Trial([self.module], lambda networks, image, condition: networks[0]())
