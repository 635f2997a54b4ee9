"""Pictures of test cases as a training keeps them, of Runs whose scores are made up."""

import csv
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from genseg_betty.data.source.case import Case, Sample
from genseg_betty.inference.case_pictures import keep_pictures
from genseg_betty.run import Run
from genseg_betty.run.pictures import PICTURES

SIZE = 24


class DrawnDataset:
    """Images and masks that are drawn of a case's id; `shape` is that of a mask."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape or (SIZE, SIZE)

    def load(self, case: Case) -> Sample:
        random = np.random.default_rng(zlib.crc32(case.id.encode()))
        image = random.integers(0, 256, (*self.shape, 3)).astype(np.float32)
        return Sample(image, random.integers(0, 2, self.shape))

    def scale(self, cases: list[Case]) -> None:
        return None


class ShiftingPredictor:
    """The truth of a case, moved a pixel to the right."""

    preprocessing = SimpleNamespace(in_units_of_training=lambda image, scale: image)

    def __init__(self, dataset: DrawnDataset, cases: list[Case]) -> None:
        self.masks = {dataset.load(case).image.tobytes(): dataset.load(case).mask for case in cases}

    def __call__(self, image: np.ndarray, spacing: Any, affine: Any) -> np.ndarray:
        return np.roll(self.masks[image.tobytes()], 1, axis=-1)


def keep(folder: Path, test_set: str, rows: list[dict[str, Any]], dataset: DrawnDataset) -> list[dict[str, Any]]:
    cases = [Case(row["id"], Path(row["id"]), (), group=row["id"], dataset=test_set) for row in rows]
    predictor = ShiftingPredictor(dataset, cases)
    return keep_pictures(folder, test_set, predictor, dataset, cases, rows)  # type: ignore[arg-type]


def add_pictures(path: Path) -> Path:
    """The pictures of a Run's test sets."""
    run = Run.open(path)
    kept = {}
    for file in sorted(path.glob("test-*.csv")):
        test_set = file.stem.removeprefix("test-")
        with file.open(newline="") as table:
            rows = [{"id": row["id"], "dice": float(row["dice"])} for row in csv.DictReader(table)]
        kept[test_set] = keep(run.samples_dir, test_set, rows, DrawnDataset())
    run.write_json(PICTURES, kept)
    return path
