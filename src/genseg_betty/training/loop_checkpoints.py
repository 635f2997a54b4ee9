"""What a training writes into checkpoints/last.pt, and how it goes on from there to the bit."""

from collections.abc import Mapping
from typing import Any

from torch import OutOfMemoryError

from genseg_betty.errors import UserError
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.run import Run
from genseg_betty.run.migrations import rename_levels
from genseg_betty.training.several_processes import require_equal_weights
from genseg_betty.training.validation import Validation, count_skipped

BROKEN = (KeyError, TypeError, ValueError, AttributeError, RuntimeError)
"""What loading the checkpoint of another training raises."""


class LoopCheckpoints:
    """Writes and reads the last checkpoint of a Run."""

    def __init__(self, run: Run, engine: PhasedEngine, validation: Validation) -> None:
        self.run = run
        self.engine = engine
        self.validation = validation

    def save_last(self, seconds: float) -> None:
        """Write the state after the last step, then the step in status.json.

        Raises:
            UserError: several processes no longer hold the same weights.
        """
        require_equal_weights(self.engine)
        state = {
            "engine": self.engine.state_dict(),
            "best": self.validation.best,
            "last": self.validation.last,
            "seconds": seconds,
        }
        if self.validation.plateau is not None:
            state["plateau"] = self.validation.plateau.state_dict()
        self.run.save_checkpoint("last", state)
        self.run.status("running", step=self.engine.global_step, skipped=count_skipped(self.engine))

    def restore_last(self) -> float:
        """Go on from the last checkpoint if the Run has one. Returns the seconds that it took to come there.

        Raises:
            UserError: the checkpoint is of another training, or the best segmenter that it speaks of is gone.
        """
        if not self.run.resuming:
            return 0.0
        state = self.run.load_checkpoint("last", map_location=self.engine.device)
        if state is None:
            return 0.0
        try:
            seconds = self._load_state(state)
        except OutOfMemoryError:
            raise
        except BROKEN as error:
            first_line = str(error).partition("\n")[0]
            raise UserError(
                f"checkpoints/last.pt of {self.run.path} is no checkpoint of this training ({type(error).__name__}: "
                f"{first_line}): it is of another Run or version. Put back a copy of it, or train again with "
                "resume=restart (deletes the Run)."
            ) from error
        self._restore_best()
        self.run.drop_metrics_after(self.engine.global_step)
        return seconds

    def _load_state(self, state: Mapping[str, Any]) -> float:
        engine_state = state["engine"]
        levels = rename_levels(engine_state["levels"])
        self.engine.load_state_dict({**engine_state, "levels": levels})
        validation = self.validation
        validation.best, validation.last = state["best"], state["last"]
        seconds: float = state["seconds"]
        if validation.plateau is not None:
            validation.plateau.load_state_dict(state["plateau"])
        return seconds

    def _restore_best(self) -> None:
        """Take score and step from best.pt itself: after a kill it may be younger than last.pt.

        Raises UserError where the method's segmenter is to be the best one and that is gone or damaged.
        """
        step = self.validation.best["step"]
        if self.run.config.trainer.select != "best" or not step:
            return
        best = self.run.load_checkpoint("best")
        if best is None:
            raise UserError(
                f"checkpoints/best.pt of {self.run.path} is gone, the segmenter of the best validation so far (step "
                f"{step}), which trainer.select=best asks for. Put back a copy of it, or train again with "
                "resume=restart (deletes the Run)."
            )
        if "validation" in best:  # not in Runs of earlier versions
            self.validation.best = best["validation"]
