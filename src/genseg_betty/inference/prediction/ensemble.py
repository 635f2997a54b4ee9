"""One or several trained Runs as one: they read the same image, and the mean of their probabilities decides."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genseg_betty.data.comparable import require_kind
from genseg_betty.data.formats import Header, read_header, read_image
from genseg_betty.data.formats.turns import Turn, turned, turned_sides, undone
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.scale import scale_of_files
from genseg_betty.device import free_memory, write_gib
from genseg_betty.errors import UserError
from genseg_betty.faults import list_below
from genseg_betty.inference.prediction.combination import Combined, combine_logits
from genseg_betty.inference.predictor import Predictor

HALF_BYTES = 2  # of float16
ADDRESS = re.compile(r"0x[0-9a-f]+")  # in the printed form of a network, another one each time


class Ensemble:
    """Predicts image files with all of `predictors`, which agree in classes, label values and dimensions.

    Args:
        predictors: one for each Run; each reads an image with its own preprocessing.
        names: of the Runs, for messages.
        flips: whether each averages over the mirror images too.

    Raises UserError for Runs that do not agree.
    """

    def __init__(self, predictors: Sequence[Predictor], names: Sequence[str], flips: bool = False) -> None:
        _require_agreement([predictor.preprocessing for predictor in predictors], names)
        self.predictors = list(predictors)
        self.flips = flips

    @property
    def preprocessing(self) -> Preprocessing:
        """That of the first Run, whose classes and label values are those of all."""
        return self.predictors[0].preprocessing

    def compute_digest(self) -> str:
        """SHA-256 of what decides about masks: networks, weights, preprocessing and flips."""
        digest = hashlib.sha256(f"flips {self.flips}".encode())
        for predictor in self.predictors:
            network = predictor.network
            layers = ADDRESS.sub("", repr(network))
            digest.update(f"{predictor.preprocessing.to_dict()} {layers}".encode())
            for name, values in network.state_dict().items():
                digest.update(name.encode())
                digest.update(values.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def predict_file(
        self, path: Path, probabilities: bool = False, uncertainty: bool = False
    ) -> tuple[Header, np.ndarray, Combined]:
        """The header and the intensities of an image file, and its prediction at its size, as it is stored.

        Raises UserError for what cannot be read or is no image as those trained on, OSError, MemoryError.
        """
        header = read_header(path)
        require_kind(header.shape, self.preprocessing.spatial_dims)
        if probabilities:
            self._require_memory(header.shape)
        image = read_image(path)

        # All logits are brought to the orientation that the first Run was trained in.
        members: list[Tensor] = []
        turns: list[Turn | None] = []
        for predictor in self.predictors:
            scale = scale_of_files([path], predictor.preprocessing.scale)
            scaled = predictor.preprocessing.in_units_of_training(image, scale)
            logits, turn = predictor.turned_logits(scaled, header.spacing, header.affine, self.flips)
            turns.append(turn)
            members.append(_turn_planes(logits, turn, turns[0]))
        shape = turned_sides(header.shape, turns[0])
        classes = self.preprocessing.num_classes
        combined = combine_logits(members, shape, classes, probabilities, uncertainty)
        _turn_back(combined, turns[0])
        return header, image, combined

    def _require_memory(self, shape: Sequence[int]) -> None:
        """Raise UserError where the probabilities of all classes are larger than memory."""
        needed = self.preprocessing.num_classes * float(np.prod(shape)) * HALF_BYTES
        free = free_memory("cpu")
        if needed > free:
            raise UserError(
                f"its probabilities take {write_gib(needed)}, and {write_gib(free)} of memory are free: leave out "
                "--probabilities, or use a larger machine"
            )


def _turn_planes(logits: Tensor, turn: Turn | None, wanted: Turn | None) -> Tensor:
    """Logits [O, *] of an image that was turned so, as those of one that was turned as `wanted`."""
    if turn is wanted or (turn is not None and wanted is not None and np.array_equal(turn, wanted)):
        return logits
    planes = []
    for plane in logits.numpy():
        as_stored = turned(plane, undone(turn))
        planes.append(torch.from_numpy(turned(as_stored, wanted)))
    return torch.stack(planes)


def _turn_back(combined: Combined, turn: Turn | None) -> None:
    """Bring a prediction to the orientation in which its image is stored."""
    back = undone(turn)
    if back is None:
        return
    combined.labels = turned(combined.labels, back)
    if combined.uncertainty is not None:
        combined.uncertainty = turned(combined.uncertainty, back)
    if combined.probabilities is not None:
        planes = [turned(plane, back) for plane in combined.probabilities]
        combined.probabilities = np.stack(planes)


def _require_agreement(found: Sequence[Preprocessing], names: Sequence[str]) -> None:
    """Raise UserError where Runs differ in what their masks mean."""
    first = found[0]
    faults = []
    for other, name in zip(found[1:], names[1:], strict=True):
        differing = []
        for what, own, its in (
            ("classes", first.classes, other.classes),
            ("label values", first.label_values, other.label_values),
            ("dimensions", first.spatial_dims, other.spatial_dims),
        ):
            if own != its:
                differing.append(f"{what} {_write_list(its)}, not {_write_list(own)}")
        if differing:
            faults.append(f"{name} has {'; '.join(differing)}")
    if faults:
        title = f"Nothing was predicted: several Runs predict together if they agree, and unlike {names[0]}"
        raise UserError(list_below(title, faults))


def _write_list(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
