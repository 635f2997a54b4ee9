"""What happens around the steps of a training: validation, selection, logging, samples, checkpoints, signals.

Nothing here moves a weight of the engine, except the learning rate of a plateau scheduler that was asked for.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from omegaconf import DictConfig
from torch import OutOfMemoryError, Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from genseg_betty.data.loading import DataBundle
from genseg_betty.device import peak_memory
from genseg_betty.errors import Interrupted, UserError
from genseg_betty.generators.cells import Architecture, operation_name
from genseg_betty.generators.encoding import class_masks
from genseg_betty.levels.graph import WARMUP
from genseg_betty.levels.segmentation import SegmenterLevel, predict_logits
from genseg_betty.metrics import case_scores
from genseg_betty.multilevel.engine import Diverged, Phase, PhasedEngine
from genseg_betty.progress import Progress
from genseg_betty.run import Run
from genseg_betty.run.migrations import rename_levels
from genseg_betty.signals import interruption
from genseg_betty.tracking import Tracker
from genseg_betty.training.sample_images import draw_samples

LOG_EVERY = 10
"""Steps between two rows of losses in metrics.csv."""


def mean_scores(logits: Tensor, masks: Tensor, num_classes: int) -> dict[str, float]:
    """Mean over cases of Dice and Jaccard, at the size of the network."""
    predictions, truths = class_masks(logits).cpu().numpy(), masks.cpu().numpy()
    rows = [case_scores(p, t, num_classes) for p, t in zip(predictions, truths, strict=True)]
    return {name: float(np.mean([row[name] for row in rows])) for name in ("dice", "jaccard")}


class Watch:
    """Runs an engine to its end within a Run, from the Run's last checkpoint if there is one.

    Args:
        architecture: A, to be logged; None for methods without.
        when_done: name of a phase -> what is called once its last step is done, before any checkpoint of that step.
        seconds, peak_memory: of this Run so far, with the time before a resume.
    """

    def __init__(
        self,
        engine: PhasedEngine,
        run: Run,
        tracker: Tracker,
        data: DataBundle,
        architecture: Architecture | None = None,
        when_done: Mapping[str, Callable[[], object]] | None = None,
    ) -> None:
        self.engine = engine
        self.run = run
        self.tracker = tracker
        self.data = data
        self.architecture = architecture
        self.when_done = when_done or {}
        self.trainer: DictConfig = run.config.trainer
        self.segmenter: SegmenterLevel = engine.segmenter
        self.best: dict[str, float] = {"score": -1.0, "step": 0}
        self.last: dict[str, float] = {}
        self.seconds = 0.0
        self._updates = 0
        self.batch_size = data.settings.batch_size
        epoch = math.ceil(len(data.train) / self.batch_size)
        self.validate_every: int = self.trainer.validate_every or epoch
        self.plateau = None
        if self.trainer.scheduler == "plateau":
            self.plateau = ReduceLROnPlateau(self.segmenter.optimizer, mode="max", patience=2)

    # -- the loop --------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Step until every phase is done. On SIGINT, SIGTERM, SIGHUP, SIGUSR2 write a checkpoint, raise Interrupted."""
        self._restore()
        totals = {phase.name: phase.steps for phase in self.engine.plan.phases if phase.steps}
        with Progress(totals, dict(self.engine.done)) as progress, interruption() as caught:
            self.tracker.warn = self.engine.tell = progress.message
            started = time.monotonic()
            while (phase := self._advance()) is not None:
                now = time.monotonic()
                self.seconds += now - started
                started = now
                self._after_step(phase)
                best = self.best["score"] if self.best["step"] else None
                progress.step(phase.name, self.engine.done[phase.name], self._losses, best, self._count_skipped)
                if caught:
                    self._checkpoint()
                    raise Interrupted(caught[0])

    def _advance(self) -> Phase | None:
        """One step of the engine. Where it diverged, the skipped steps are counted in status.json yet."""
        try:
            return self.engine.advance()
        except Diverged:
            self.run.status("running", skipped=self._skipped())
            raise

    def _after_step(self, phase: Phase) -> None:
        step = self.engine.global_step
        at_end = self.engine.phase() is None
        if phase.name in self.when_done and self.engine.done[phase.name] == phase.steps:
            self.when_done[phase.name]()
        if step % LOG_EVERY == 0 or at_end:
            self.tracker.log(step, phase.name, self._losses())
        if self.segmenter.count > self._updates:
            self._updates = self.segmenter.count
            if self._updates % self.validate_every == 0 or at_end:
                self._validate(step)
        if step % self.trainer.sample_every == 0 or at_end:
            self.sample(step)
        if step % self.trainer.checkpoint_every == 0 or at_end:
            self._checkpoint()

    def _losses(self) -> dict[str, float]:
        return {level.name: float(level.loss) for level in self.engine.levels if level.loss is not None}

    def _skipped(self) -> dict[str, int]:
        """Steps that each level did not make, as their loss or gradient was not finite."""
        return {level.name: level.guard.skipped for level in self.engine.levels}

    def _count_skipped(self) -> int:
        return sum(self._skipped().values())

    # -- validation ------------------------------------------------------------------------------------------

    def _validate(self, step: int) -> None:
        held_out = self.data.validation
        module = self.segmenter.predictor()
        logits = predict_logits(
            module, held_out.images.to(self.engine.device), self.batch_size, self.data.preprocessing.image_size
        )
        loss = self.segmenter.criterion(logits, held_out.masks.to(logits.device))
        scores = mean_scores(logits, held_out.masks, self.data.num_classes) | {"loss": float(loss)}
        self.last = scores
        self.tracker.log(step, "validation", scores)
        if self.architecture is not None:
            self.tracker.log(step, "architecture", {**named_weights(self.architecture), **self._hypergradient()})
        self.tracker.log(step, "system", self._system())
        score = scores[self.data.metric]
        if score > self.best["score"]:
            self.best = {"score": score, "step": step}
            self.run.save_checkpoint("best", {**self.predictor_state(), "validation": self.best})
        if self.plateau is not None:
            self.plateau.step(score)

    def _hypergradient(self) -> dict[str, float]:
        norm = next((level.guard.gradient_norm for level in self.engine.levels if level.name == "architecture"), None)
        return {} if norm is None else {"gradient_norm": float(norm)}

    def _system(self) -> dict[str, float]:
        skipped = {f"skipped_{name}": float(count) for name, count in self._skipped().items()}
        return {"seconds": self.seconds, "memory_bytes": float(peak_memory(self.engine.device)), **skipped}

    def predictor_state(self) -> dict[str, Any]:
        """What a Predictor is made of: the averaged segmenter and the preprocessing."""
        weights = {name: value.cpu() for name, value in self.segmenter.predictor().state_dict().items()}
        return {
            "preprocessing": self.data.preprocessing.to_dict(),
            "num_outputs": self.data.num_outputs,
            "weights": weights,
        }

    # -- pictures --------------------------------------------------------------------------------------------

    def sample(self, step: int) -> None:
        """Draw what the networks make of some training and validation images."""
        for path in draw_samples(self.run.samples_dir, step, self.engine, self.data):
            self.tracker.image(step, path.stem.split("-")[0], path)

    # -- the end -------------------------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """The training's part of results.json."""
        elsewhere = self.engine.done.get(WARMUP, 0) if self.trainer.warm_start else 0
        steps = max(self.engine.global_step - elsewhere, 1)
        best = self.best["score"] if self.best["step"] else None
        return {
            "iterations": self.segmenter.count,
            "validation": {"best": best, "step": self.best["step"], "last": self.last},
            "seconds": self.seconds,
            "seconds_per_iteration": self.seconds / steps,
            "peak_memory_bytes": peak_memory(self.engine.device),
            "skipped": self._skipped(),
        }

    # -- checkpoints -----------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        state = {"engine": self.engine.state_dict(), "best": self.best, "last": self.last, "seconds": self.seconds}
        if self.plateau is not None:
            state["plateau"] = self.plateau.state_dict()
        self.run.save_checkpoint("last", state)
        self.run.status("running", step=self.engine.global_step, skipped=self._skipped())

    def _restore(self) -> None:
        state = self.run.load_checkpoint("last", map_location=self.engine.device) if self.run.resuming else None
        if state is None:
            return
        try:
            self._load_state(state)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if isinstance(error, OutOfMemoryError):
                raise
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            raise UserError(
                f"checkpoints/last.pt of {self.run.path} is no checkpoint of this training ({reason}): it is of "
                "another Run or version. Put back a copy of it, or train again with resume=restart (deletes the Run)."
            ) from error
        self._restore_best()
        self.run.drop_metrics_after(self.engine.global_step)

    def _load_state(self, state: Mapping[str, Any]) -> None:
        engine_state = state["engine"]
        self.engine.load_state_dict({**engine_state, "levels": rename_levels(engine_state["levels"])})
        self.best, self.last, self.seconds = state["best"], state["last"], state["seconds"]
        if self.plateau is not None:
            self.plateau.load_state_dict(state["plateau"])
        self._updates = self.segmenter.count

    def _restore_best(self) -> None:
        """Go by what best.pt says of itself: after a kill it may be younger than last.pt.

        Raises UserError where the method's segmenter is to be the best one and that is gone or damaged.
        """
        if self.trainer.select != "best" or not self.best["step"]:
            return
        best = self.run.load_checkpoint("best")
        if best is None:
            raise UserError(
                f"checkpoints/best.pt of {self.run.path} is gone, the segmenter of the best validation so far (step "
                f"{self.best['step']}), which trainer.select=best asks for. Put back a copy of it, or train again with "
                "resume=restart (deletes the Run)."
            )
        self.best = best.get("validation", self.best)  # Runs of earlier versions have none


def named_weights(architecture: Architecture) -> dict[str, float]:
    """α of every operation of every cell: {"down.0.conv_421": 0.33, …}."""
    return {
        f"{half}.{cell}.{operation_name(operation, transposed=half == 'up')}": weight
        for half, cells in architecture.to_lists().items()
        for cell, weights in enumerate(cells)
        for operation, weight in zip(architecture.operations, weights, strict=True)
    }
