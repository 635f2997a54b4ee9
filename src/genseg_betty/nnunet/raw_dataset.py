"""A data set as nnU-Net v2 reads it: DatasetXXX_Name/{imagesTr,labelsTr,dataset.json} and splits_final.json.

A picture is one file, in colour too; a volume is one NIfTI file for each channel. Labels are class indices, which are
consecutive. A volume lies straight along its axes: nnU-Net looks at the spacing alone, and its reader takes no shear.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from genseg_betty.data.formats import nifti
from genseg_betty.data.formats.place import affine_from_orientation
from genseg_betty.files import atomic_write, file_label, to_json, whole_file

IMAGES, LABELS, TEST_IMAGES = "imagesTr", "labelsTr", "imagesTs"
GRAY = ("gray",)
COLOURS = ("R", "G", "B")
VOLUME_ENDING = ".nii.gz"
RAW, PREPROCESSED = "nnUNet_raw", "nnUNet_preprocessed"
SPLITS = "splits_final.json"


@dataclass(frozen=True)
class FileForm:
    """How all images of a data set are stored, for nnU-Net knows one ending a data set."""

    ending: str  # .png, .tif, or .nii.gz for volumes
    kind: np.dtype[Any]  # of one intensity
    channels: tuple[str, ...]  # their names; by CT nnU-Net knows Hounsfield units

    @property
    def is_volume(self) -> bool:
        return self.ending == VOLUME_ENDING


@dataclass(frozen=True)
class RawDataset:
    """Writes the cases of one data set below `root`, which holds nnUNet_raw and nnUNet_preprocessed.

    Args:
        name: DatasetXXX_Name.
        classes: the background first.
    """

    root: Path
    name: str
    form: FileForm
    classes: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return self.root / RAW / self.name

    def write_pair(
        self, case: str, image: np.ndarray, labels: np.ndarray, spacing: Sequence[float] | None = None
    ) -> None:
        """Write a case to learn from: intensities [*, C] and class indices [*]."""
        self.write_image(case, image, spacing, IMAGES)
        path = self.folder / LABELS / f"{case}{self.form.ending}"
        fits_in_byte = len(self.classes) <= 256
        indices = labels.astype(np.uint8 if fits_in_byte else np.uint16)
        self._write_array(path, indices, spacing)

    def write_image(
        self, case: str, image: np.ndarray, spacing: Sequence[float] | None = None, part: str = TEST_IMAGES
    ) -> None:
        """Write an image [*, C] into a part of the data set."""
        stored = fit_kind(image, self.form.kind)
        planes = np.moveaxis(stored, -1, 0) if self.form.is_volume else [stored]
        for number, plane in enumerate(planes):
            path = self.folder / part / f"{case}_{number:04}{self.form.ending}"
            self._write_array(path, plane, spacing)

    def describe_cases(self, cases: Iterable[str]) -> None:
        """Write dataset.json, once all cases to learn from are there.

        Planning copies it to where preprocessing looks for it, but a data set may take the plan of another.
        """
        channels = {str(number): name for number, name in enumerate(self.form.channels)}
        labels = {name: index for index, name in enumerate(name_labels(self.classes))}
        description = {
            "channel_names": channels,
            "labels": labels,
            "numTraining": len(list(cases)),
            "file_ending": self.form.ending,
        }
        for folder in (self.folder, self.root / PREPROCESSED / self.name):
            self._write_json(folder / "dataset.json", description)

    def write_split(self, train: Sequence[str], validation: Sequence[str]) -> None:
        """Write splits_final.json of a single fold, fold 0, where nnU-Net looks for it."""
        fold = {"train": list(train), "val": list(validation)}
        self._write_json(self.root / PREPROCESSED / self.name / SPLITS, [fold])

    def _write_array(self, path: Path, values: np.ndarray, spacing: Sequence[float] | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, sync=False) as temporary:
            if self.form.is_volume:
                affine = affine_from_orientation("RAS", spacing or (1.0, 1.0, 1.0))
                nifti.write_image(temporary, values, affine)
            else:
                _write_picture(temporary, values)

    def _write_json(self, path: Path, value: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, to_json(value).encode())


def choose_form(
    kinds: Iterable[np.dtype[Any]], channels: int, spatial_dims: int, modality: str = "", volume_kind: str = "float32"
) -> FileForm:
    """The form that holds images of all these kinds, as `find_kind` has them, without a loss."""
    names = GRAY if channels == 1 else COLOURS
    if spatial_dims == 3:
        if modality.lower() == "ct" and channels == 1:
            names = ("CT",)
        return FileForm(VOLUME_ENDING, np.dtype(volume_kind), names)
    kind = np.result_type(np.uint8, *kinds)
    is_png = kind == np.uint8 or (kind == np.uint16 and channels == 1)
    return FileForm(".png" if is_png else ".tif", kind, names)


def name_dataset(dataset: str) -> str:
    """The name of a data set of ours, as nnU-Net wants it."""
    return f"Dataset001_{file_label(dataset)}"


def find_configuration(spatial_dims: int) -> str:
    """nnU-Net's name for its network for images or for volumes at their full resolution."""
    return "2d" if spatial_dims == 2 else "3d_fullres"


def find_kind(image: np.ndarray) -> np.dtype[Any]:
    """uint8 or uint16 where it holds every value of the image, else float32."""
    for kind in (np.uint8, np.uint16):
        if np.array_equal(image, fit_kind(image, np.dtype(kind))):
            return np.dtype(kind)
    return np.dtype(np.float32)


def fit_kind(image: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    """The image in a kind of numbers: rounded and cut at its ends where these are whole."""
    if kind.kind == "f":
        return image.astype(kind)
    limits = np.iinfo(kind)
    return np.clip(np.round(image), limits.min, limits.max).astype(kind)


def name_labels(classes: Sequence[str]) -> list[str]:
    """The names of the classes; nnU-Net calls the first one background, and knows a class `ignore` as none."""
    names = ["background"]
    for index, name in enumerate(classes[1:], start=1):
        is_taken = name in ("background", "ignore") or name in names
        names.append(f"{name}_{index}" if is_taken else name)
    return names


def name_cases(ids: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """A name of letters, digits and _ . + - for each (data set, case), no two alike even where case does not count."""
    names: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for dataset, id in ids:
        label = file_label(f"{dataset}-{id}")
        name = label
        number = 2
        while name.lower() in taken:
            name = f"{label}-{number}"
            number += 1
        taken.add(name.lower())
        names[dataset, id] = name
    return names


def _write_picture(path: Path, values: np.ndarray) -> None:
    """Write [H, W] or [H, W, C]; gray without a palette, which nnU-Net's reader would turn into colour."""
    pixels = values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values
    if path.suffix == ".png":
        Image.fromarray(pixels).save(path)
        return
    import tifffile

    tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
