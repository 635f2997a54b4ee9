"""What became of one image, as Python sees it and as rows of predict.csv."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genseg_betty.data.formats import Header
from genseg_betty.inference.prediction.combination import Combined

PIXELS = {2: "pixels", 3: "voxels"}
MILLIMETRES = {2: "mm2", 3: "mm3"}


@dataclass(frozen=True)
class PredictedClass:
    """One class of a predicted mask.

    Attributes:
        size: area or volume, in `unit`.
        unit: mm2 or mm3 where the file states its spacing, else pixels or voxels.
        share: of all pixels, 0 to 1.
        confidence: the mean probability of the class over its pixels, 0 to 1; None where it has none.
    """

    size: float
    unit: str
    share: float
    confidence: float | None


@dataclass(frozen=True)
class PredictedImage:
    """One image: its mask, or why there is none.

    Attributes:
        image: the file, or folder of DICOM slices, that was read.
        mask: the file that was written; None where the image failed.
        classes: name -> size, share and confidence of each class but the background.
        seconds: from reading the image to its last file.
        failure: what failed and why; None where nothing did.
        files: the other files that were asked for: "overlays", "probabilities", "uncertainty" -> path.
        kept: whether the mask was there already, made of the same image by the same Runs and options.
    """

    image: Path
    mask: Path | None = None
    classes: Mapping[str, PredictedClass] = field(default_factory=dict)
    seconds: float | None = None
    failure: str | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    kept: bool = False


def make_rows(
    case: str, mask: str, names: Sequence[str], header: Header, combined: Combined, seconds: float
) -> list[dict[str, Any]]:
    """A row of predict.csv for each class but the background; `names` are those of all classes."""
    dims = len(header.shape)
    pixel, unit = 1.0, PIXELS[dims]
    if header.spacing is not None:
        pixel, unit = math.prod(header.spacing), MILLIMETRES[dims]
    total = sum(combined.counts)
    rows = []
    for name, count, confidence in list(zip(names, combined.counts, combined.confidence, strict=True))[1:]:
        size: float | int = count if unit == PIXELS[dims] else count * pixel
        row = {"case": case, "class": name, "size": size, "unit": unit, "share": count / total}
        rows.append({**row, "confidence": confidence, "seconds": f"{seconds:.3f}", "mask": mask})
    return rows


def read_classes(rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> dict[str, PredictedClass]:
    """The classes in rows of predict.csv, in the order of `names`. Raises ValueError for rows of other classes."""
    found = {}
    for row, name in zip(rows, names[1:], strict=True):
        confidence = float(row["confidence"]) if row["confidence"] else None
        found[name] = PredictedClass(float(row["size"]), row["unit"], float(row["share"]), confidence)
    return found
