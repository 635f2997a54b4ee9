"""The segmenter on the validation images: scores, the best one so far, and what each validation writes down."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from genseg_betty.backbones.pairs import MeanOfTwo
from genseg_betty.backbones.sliding import slide
from genseg_betty.data.loading import DataBundle
from genseg_betty.device import peak_memory
from genseg_betty.generators.cells import Architecture, operation_name
from genseg_betty.generators.encoding import class_masks
from genseg_betty.joint_batch import ask_first
from genseg_betty.levels.segmentation import SegmenterLevel
from genseg_betty.levels.stage import select_stages
from genseg_betty.metrics.overlaps import case_scores
from genseg_betty.multilevel.engine import PhasedEngine
from genseg_betty.run import Run
from genseg_betty.run.names import (
    ARCHITECTURE_PHASE,
    GRADIENT_NORM,
    LOSS,
    MEMORY_BYTES,
    SCORES,
    SECONDS,
    SYSTEM_PHASE,
    VALIDATION_PHASE,
    AlphaName,
    name_skipped,
)
from genseg_betty.tracking import Tracker


class Validation:
    """Scores the averaged segmenter, keeps the best one in checkpoints/best.pt, and logs what there is to log.

    Args:
        architecture: A, to be logged; None for methods without.

    Attributes:
        best: score and step of the best validation so far.
        last: the scores of the last validation.
        plateau: lowers the segmenter's learning rate where scores stay as they are; None without such a scheduler.
    """

    def __init__(
        self, engine: PhasedEngine, run: Run, tracker: Tracker, data: DataBundle, architecture: Architecture | None
    ) -> None:
        self.engine = engine
        self.run = run
        self.tracker = tracker
        self.data = data
        self.architecture = architecture
        self.segmenter: SegmenterLevel = engine.segmenter
        self.batch_size = data.settings.batch_size
        self.best: dict[str, float] = {"score": -1.0, "step": 0}
        self.last: dict[str, float] = {}
        self.plateau: ReduceLROnPlateau | None = None
        if run.config.trainer.scheduler == "plateau":
            self.plateau = ReduceLROnPlateau(self.segmenter.optimizer, mode="max", patience=2)

    @property
    def best_score(self) -> float | None:
        """None before the first validation."""
        return self.best["score"] if self.best["step"] else None

    def validate(self, step: int, seconds: float) -> None:
        """Score the segmenter of this step; `seconds` is how long the training took so far."""
        self.last = ask_first(self._score_segmenter)
        self.tracker.log(step, VALIDATION_PHASE, self.last)
        if self.architecture is not None:
            weights = name_weights(self.architecture)
            self.tracker.log(step, ARCHITECTURE_PHASE, {**weights, **self._find_gradient_norm()})
        self.tracker.log(step, SYSTEM_PHASE, self._measure_system(seconds))
        score = self.last[self.data.metric]
        if score > self.best["score"]:
            self.best = {"score": score, "step": step}
            self.run.save_checkpoint("best", {**self.predictor_state(), "validation": self.best})
        if self.plateau is not None:
            self.plateau.step(score)

    def predictor_state(self) -> dict[str, Any]:
        """What a Predictor is made of: the averaged segmenter and the preprocessing."""
        network = self.segmenter.predictor()
        several = {"networks": 2} if isinstance(network, MeanOfTwo) else {}
        return {
            "preprocessing": self.data.preprocessing.to_dict(),
            "num_outputs": self.data.num_outputs,
            "weights": {name: value.cpu() for name, value in network.state_dict().items()},
            **several,
        }

    def _score_segmenter(self) -> dict[str, float]:
        held_out = self.data.validation
        images = held_out.images.to(self.engine.device)
        window = self.data.preprocessing.image_size
        logits = predict_logits(self.segmenter.predictor(), images, self.batch_size, window)
        loss = self.segmenter.criterion(logits, held_out.masks.to(logits.device))
        scores = mean_scores(logits, held_out.masks, self.data.num_classes)
        return {**scores, LOSS: float(loss)}

    def _find_gradient_norm(self) -> dict[str, float]:
        """The norm of the last hypergradient; empty before the first one."""
        for level in select_stages(self.engine.levels):
            if level.logs_gradient and level.guard.gradient_norm is not None:
                return {GRADIENT_NORM: float(level.guard.gradient_norm)}
        return {}

    def _measure_system(self, seconds: float) -> dict[str, float]:
        measured = {SECONDS: seconds, MEMORY_BYTES: float(peak_memory(self.engine.device))}
        for name, count in count_skipped(self.engine).items():
            measured[name_skipped(name)] = float(count)
        return measured


def count_skipped(engine: PhasedEngine) -> dict[str, int]:
    """Steps that each level did not make, as their loss or gradient was not finite."""
    return {level.name: level.guard.skipped for level in engine.levels}


def mean_scores(logits: Tensor, masks: Tensor, num_classes: int) -> dict[str, float]:
    """Mean over cases of Dice and Jaccard, at the size of the network."""
    predictions, truths = class_masks(logits).cpu().numpy(), masks.cpu().numpy()
    rows = [case_scores(p, t, num_classes) for p, t in zip(predictions, truths, strict=True)]
    means = {}
    for name in SCORES:
        means[name] = float(np.mean([row[name] for row in rows]))
    return means


@torch.inference_mode()
def predict_logits(module: nn.Module, images: Tensor, batch_size: int, window: Sequence[int]) -> Tensor:
    """Logits [N, O, *] of images [N, C, *], in batches; what is larger than the network's input by sliding windows."""
    is_whole = images.ndim == 4 or tuple(images.shape[2:]) == tuple(window)
    if is_whole:
        return torch.cat([module(part) for part in images.split(batch_size)])
    return torch.cat([slide(module, part, window, batch_size) for part in images.split(1)])


def name_weights(architecture: Architecture) -> dict[str, float]:
    """α of every operation of every cell: {"down.0.conv_421": 0.33, …}."""
    named = {}
    for half, cells in architecture.to_lists().items():
        is_transposed = half == "up"
        for cell, weights in enumerate(cells):
            for operation, weight in zip(architecture.operations, weights, strict=True):
                name = operation_name(operation, transposed=is_transposed)
                named[str(AlphaName(half, str(cell), name))] = weight
    return named
