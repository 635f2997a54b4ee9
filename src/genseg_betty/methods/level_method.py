"""The protocol of every method, and what all of them share.

Two methods differ in their `plan` alone: data, splits, the segmenter and its first weights, its optimizer and
number of updates, weight averaging and selection are the same, so that a difference in score is the method's.
"""

from abc import ABC, abstractmethod
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar

from omegaconf import DictConfig

from genseg_betty.build import build_segmenter, count_parameters
from genseg_betty.data.loading import DataBundle
from genseg_betty.generators.cells import Architecture
from genseg_betty.inference.predictor import Predictor
from genseg_betty.levels.graph import WARMUP
from genseg_betty.multilevel.cuda_graphs import Backend
from genseg_betty.multilevel.engine import PhasedEngine, Plan, find_backend
from genseg_betty.run import Run
from genseg_betty.tracking import Tracker
from genseg_betty.training.components import Workshop
from genseg_betty.training.console import introduce
from genseg_betty.training.loop import Watch
from genseg_betty.training.warm_start import Description, begin, keep, origin


class LevelMethod(ABC):
    """One way to train a segmenter. A subclass says which levels step, in which phases."""

    has_generator: ClassVar[bool] = False
    learns_architecture: ClassVar[bool] = False

    def fit(self, run: Run, data: DataBundle) -> tuple[Predictor, dict[str, Any]]:
        """Train within `run`, from its last checkpoint if it has one.

        Returns the Predictor, whose weights are in checkpoints/predictor.pt, and the method's part of results.json.
        """
        workshop = Workshop(run.config, data)
        backend = find_backend(run.config.graphs, workshop.device)
        # All of it on the stream of the graphs: a capture cannot wait for what was computed on another one.
        with nullcontext() if backend is None else backend.on_own_stream():
            return self._fit(run, data, workshop, backend)

    def _fit(
        self, run: Run, data: DataBundle, workshop: Workshop, backend: Backend | None
    ) -> tuple[Predictor, dict[str, Any]]:
        trainer = run.config.trainer
        engine = PhasedEngine(self.plan(workshop), workshop.device.type, trainer.max_nonfinite, backend)
        introduce(engine, data, data.settings.batch_size)
        described = self.warm_up(run.config, data)
        begin(run, engine, described)
        when_done = {WARMUP: partial(keep, run, engine, described)} if described and trainer.keep_warmup else {}
        tracker = Tracker(run, run.config.logger)
        try:
            watch = Watch(engine, run, tracker, data, self.architecture(workshop), when_done)
            watch.train()
            findings = {**self.finish(run, workshop, engine), "warm_start": origin(run, engine, described)}
        finally:
            tracker.close()
        if trainer.select == "last":
            run.save_checkpoint("predictor", watch.predictor_state())
        else:
            run.save_checkpoint("predictor", run.load_checkpoint("best") or watch.predictor_state())
        hypergradient = engine.plan.hypergradient
        findings["hypergradient"] = None if hypergradient == "none" else hypergradient
        return self._predictor(run, data, workshop), watch.summary() | findings

    @abstractmethod
    def plan(self, workshop: Workshop) -> Plan:
        """The levels, their edges and their phases."""

    def warm_up(self, config: DictConfig, data: DataBundle) -> Description | None:
        """What the warm-up of the generator depends on; None for methods without a generator."""
        return None

    def architecture(self, workshop: Workshop) -> Architecture | None:
        """A, if the method learns it: logged as the training goes on."""
        return None

    def finish(self, run: Run, workshop: Workshop, engine: PhasedEngine) -> dict[str, Any]:
        """What is left to do after the last step; returns what results.json says of it."""
        sizes = {"segmenter": count_parameters(workshop.segmenter), "generator": None, "discriminator": None}
        return {"architecture": None, "parameters": sizes}

    def _predictor(self, run: Run, data: DataBundle, workshop: Workshop) -> Predictor:
        saved = run.load_checkpoint("predictor")
        assert saved is not None
        preprocessing = data.preprocessing
        network = build_segmenter(run.config, preprocessing.channels, data.num_outputs, preprocessing.spatial_dims)
        network.load_state_dict(saved["weights"])
        return Predictor(network, preprocessing, workshop.device)
