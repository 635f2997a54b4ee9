"""The loop around the steps of a training: when to validate, log, draw samples and write checkpoints.

Nothing here moves a weight of the engine, except the learning rate of a plateau scheduler that was asked for.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig

from genseg_betty.data.loading import DataBundle
from genseg_betty.device import peak_memory
from genseg_betty.errors import Interrupted
from genseg_betty.generators.cells import Architecture
from genseg_betty.joint_batch import find_greatest
from genseg_betty.levels.segmentation import SegmenterLevel
from genseg_betty.multilevel.engine import Diverged, Phase, PhasedEngine
from genseg_betty.progress import Progress
from genseg_betty.ranks import is_first
from genseg_betty.run import Run
from genseg_betty.run.names import WARMUP_PHASE
from genseg_betty.signals import interruption
from genseg_betty.tracking import Tracker
from genseg_betty.training.loop_checkpoints import LoopCheckpoints
from genseg_betty.training.sample_images import draw_samples
from genseg_betty.training.several_processes import require_equal_weights
from genseg_betty.training.validation import Validation, count_skipped

LOG_EVERY = 10
"""Steps between two rows of losses in metrics.csv."""


class TrainingLoop:
    """Runs an engine to its end within a Run, from the Run's last checkpoint if there is one.

    Args:
        architecture: A, to be logged; None for methods without.
        when_done: name of a phase -> what is called once its last step is done, before any checkpoint of that step.

    Attributes:
        seconds: how long the training took so far, the time before a resume among it.
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
        self.when_done = when_done or {}
        self.trainer: DictConfig = run.config.trainer
        self.segmenter: SegmenterLevel = engine.segmenter
        self.validation = Validation(engine, run, tracker, data, architecture)
        self.checkpoints = LoopCheckpoints(run, engine, self.validation)
        self.seconds = 0.0
        self._updates = 0  # of the segmenter
        epoch = math.ceil(len(data.train) / self.validation.batch_size)
        self.validate_every: int = self.trainer.validate_every or epoch

    def train(self) -> None:
        """Step until every phase is done. On SIGINT, SIGTERM, SIGHUP, SIGUSR2 write a checkpoint, raise Interrupted."""
        self.seconds = self.checkpoints.restore_last()
        require_equal_weights(self.engine)
        self._updates = self.segmenter.count
        totals = {phase.name: phase.steps for phase in self.engine.plan.phases if phase.steps}
        with Progress(totals, dict(self.engine.done)) as progress, interruption() as caught:
            self.tracker.warn = self.engine.tell = progress.print_message
            started = time.monotonic()
            while (phase := self._advance_engine()) is not None:
                now = time.monotonic()
                self.seconds += now - started
                started = now
                self._follow_step(phase)
                done = self.engine.done[phase.name]
                progress.step(phase.name, done, self._read_losses, self.validation.best_score, self._sum_skipped)
                if find_greatest(int(bool(caught))):  # a signal to one process; all answer after the same step
                    self.checkpoints.save_last(self.seconds)
                    caught.hand_over()  # a launcher may queue the job anew and end this process
                    stopping = find_greatest(caught.stopping[0] if caught.stopping else 0)
                    if stopping:
                        raise Interrupted(stopping)

    def summarise(self) -> dict[str, Any]:
        """The training's part of results.json."""
        elsewhere = self.engine.done.get(WARMUP_PHASE, 0) if self.trainer.warm_start else 0
        steps = max(self.engine.global_step - elsewhere, 1)
        validation = self.validation
        return {
            "iterations": self.segmenter.count,
            "validation": {"best": validation.best_score, "step": validation.best["step"], "last": validation.last},
            "seconds": self.seconds,
            "seconds_per_iteration": self.seconds / steps,
            "peak_memory_bytes": peak_memory(self.engine.device),
            "skipped": count_skipped(self.engine),
        }

    def _advance_engine(self) -> Phase | None:
        """Make one step of the engine. Where it diverged, the skipped steps are counted in status.json first."""
        try:
            return self.engine.advance()
        except Diverged:
            self.run.status("running", skipped=count_skipped(self.engine))
            raise

    def _follow_step(self, phase: Phase) -> None:
        """Do what is due after a step. The checkpoint comes last, so that it knows of all the rest."""
        step = self.engine.global_step
        at_end = self.engine.phase() is None
        if phase.name in self.when_done and self.engine.done[phase.name] == phase.steps:
            self.when_done[phase.name]()
        if step % LOG_EVERY == 0 or at_end:
            self.tracker.log(step, phase.name, self._read_losses())
        if self.segmenter.count > self._updates:
            self._updates = self.segmenter.count
            if self._updates % self.validate_every == 0 or at_end:
                self.validation.validate(step, self.seconds)
        if step % self.trainer.sample_every == 0 or at_end:
            self._draw_samples(step)
        if step % self.trainer.checkpoint_every == 0 or at_end:
            self.checkpoints.save_last(self.seconds)

    def _draw_samples(self, step: int) -> None:
        """Draw what the networks make of some training and validation images; of several processes the first does."""
        if not is_first():
            return
        for path in draw_samples(self.run.samples_dir, step, self.engine, self.data):
            self.tracker.image(step, path.stem.split("-")[0], path)
        self.tracker.show_alphas(step)

    def _read_losses(self) -> dict[str, float]:
        return {level.name: float(level.loss) for level in self.engine.levels if level.loss is not None}

    def _sum_skipped(self) -> int:
        return sum(count_skipped(self.engine).values())
