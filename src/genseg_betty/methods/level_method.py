"""What all methods share that train levels by Betty.

Two of them differ in their `plan` alone: data, splits, the segmenter and its first weights, its optimizer and
number of updates, weight averaging and selection are the same, so that a difference in score is the method's.
"""

from abc import ABC, abstractmethod
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar

from omegaconf import DictConfig

from genseg_betty.build import count_parameters
from genseg_betty.data.loading import DataBundle
from genseg_betty.generators.cells import Architecture
from genseg_betty.inference.predictor import Predictor
from genseg_betty.inference.saved_backbones import build_predicting
from genseg_betty.joint_batch import ask_first
from genseg_betty.multilevel.cuda_graphs import Backend
from genseg_betty.multilevel.engine import PhasedEngine, Plan, find_backend
from genseg_betty.ranks import count_processes
from genseg_betty.run import Run
from genseg_betty.run.names import DISCRIMINATOR, GENERATOR, SEGMENTER, WARMUP_PHASE
from genseg_betty.tracking import Tracker
from genseg_betty.training.components import Components
from genseg_betty.training.console import report_networks
from genseg_betty.training.loop import TrainingLoop
from genseg_betty.training.warm_start import begin_warm, find_origin, save_warm_up
from genseg_betty.training.warm_up_description import Description


class LevelMethod(ABC):
    """One way to train a segmenter. A subclass says which levels step, in which phases.

    Attributes:
        has_generator: whether it trains a generator.
        learns_architecture: whether stage III has a part in it.
        uses_unlabelled: whether it learns from images without masks too.
        num_networks: segmenters that learn in it.
        divides_batches: whether several processes can share its batches: all of its levels take their images by
            `levels.stage.take_pairs` or `take_masks`, and its losses are means over images, or `losses.py` has them.
    """

    has_generator: ClassVar[bool] = False
    learns_architecture: ClassVar[bool] = False
    uses_unlabelled: ClassVar[bool] = False
    num_networks: ClassVar[int] = 1
    trains_backbone: ClassVar[bool] = True
    divides_batches: ClassVar[bool] = False

    def fit(self, run: Run, data: DataBundle, tracker: Tracker) -> tuple[Predictor, dict[str, Any]]:
        """Train within `run`, from its last checkpoint if it has one.

        Returns the Predictor, whose weights are in checkpoints/predictor.pt, and the method's part of results.json.
        """
        components = Components(run.config, data, run.resuming)
        backend = find_backend(run.config.graphs, components.device)
        # All of it on the stream of the graphs: a capture cannot wait for what was computed on another one.
        with nullcontext() if backend is None else backend.on_own_stream():
            findings = self._train_levels(run, data, tracker, components, backend)
            return self._build_predictor(run, data, components), findings

    def _train_levels(
        self, run: Run, data: DataBundle, tracker: Tracker, components: Components, backend: Backend | None
    ) -> dict[str, Any]:
        """Train, and write checkpoints/predictor.pt. Returns the method's part of results.json."""
        trainer = run.config.trainer
        engine = PhasedEngine(self.plan(components), components.device.type, trainer.max_nonfinite, backend)
        report_networks(engine, data, data.settings.batch_size // count_processes())

        # The warm-up of stage I comes from another Run, or is kept for others once it is done.
        described = self.describe_warm_up(run.config, data)
        begin_warm(run, engine, described)
        when_done = {}
        if described and trainer.keep_warmup:
            when_done[WARMUP_PHASE] = partial(save_warm_up, run, engine, described)

        architecture = self.find_architecture(components)
        loop = TrainingLoop(engine, run, tracker, data, architecture=architecture, when_done=when_done)
        loop.train()
        findings = self.finish(run, components, engine)
        findings["warm_start"] = find_origin(run, engine, described)

        # The method's segmenter: that of the last step, or that of the best validation.
        best = run.load_checkpoint("best") if trainer.select != "last" else None
        ask_first(lambda: run.save_checkpoint("predictor", best or loop.validation.predictor_state()))
        hypergradient = engine.plan.hypergradient
        findings["hypergradient"] = None if hypergradient == "none" else hypergradient
        findings["beyond"] = self.count_beyond(components)
        return loop.summarise() | findings

    @abstractmethod
    def plan(self, components: Components) -> Plan:
        """The levels, their edges and their phases."""

    def check_continuing(self, run: Run) -> None:
        """A Run of levels goes on from any checkpoint of its own."""
        return None

    def describe_warm_up(self, config: DictConfig, data: DataBundle) -> Description | None:
        """What the warm-up of the generator depends on; None for methods without a generator."""
        return None

    def count_beyond(self, components: Components) -> dict[str, int]:
        """What it takes beyond supervised training with as many updates, by the names of `run/beyond.py`."""
        return {}

    def find_architecture(self, components: Components) -> Architecture | None:
        """A, if the method learns it: logged as the training goes on."""
        return None

    def finish(self, run: Run, components: Components, engine: PhasedEngine) -> dict[str, Any]:
        """Do what is left to do after the last step. Returns what results.json says of it."""
        sizes = {SEGMENTER: count_parameters(components.segmenter), GENERATOR: None, DISCRIMINATOR: None}
        return {"architecture": None, "parameters": sizes}

    def _build_predictor(self, run: Run, data: DataBundle, components: Components) -> Predictor:
        saved = run.load_checkpoint("predictor")
        assert saved is not None
        preprocessing = data.preprocessing
        form = preprocessing.channels, data.num_outputs, preprocessing.spatial_dims
        network = build_predicting(run.config, saved.get("networks", 1), *form)
        network.load_state_dict(saved["weights"])
        return Predictor(network, preprocessing, components.device)
