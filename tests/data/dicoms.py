"""Small DICOM files: slices, series, and files of several frames that are described one by one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
VOLUME = np.random.default_rng(0).integers(-500, 1500, (6, 5, 7)).astype(np.int16)  # D, H, W
SPACING, ORIGIN = (2.5, 0.75, 0.5), (-20.0, 35.0, 110.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "axial, feet first": (-1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": OBLIQUE,
}


def slice_file(path: Path, array: np.ndarray, syntax: str = ExplicitVRLittleEndian, **tags: Any) -> Path:
    """Write stored values [H, W], [D, H, W] or [H, W, 3]; a tag of None is left out, `frame` is compressed."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = tags.pop("SOPClassUID", CT)
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = generate_uid(entropy_srcs=[str(path)]), UID(syntax)
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.SeriesInstanceUID, data.StudyInstanceUID = "CT", "1.2.3", "1.2"
    colour = array.ndim == 3 and array.shape[-1] == 3 and array.dtype == np.uint8
    data.Rows, data.Columns = array.shape[:2] if colour else array.shape[-2:]
    if array.ndim == 3 and not colour:
        data.NumberOfFrames = len(array)
    data.SamplesPerPixel, data.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * array.dtype.itemsize
    data.HighBit, data.PixelRepresentation = tags.get("BitsStored", data.BitsStored) - 1, int(array.dtype.kind == "i")
    frame = tags.pop("frame", None)
    data.PixelData = encapsulate([frame]) if frame else array.tobytes()
    data["PixelData"].VR = "OB" if frame or array.dtype.itemsize == 1 else "OW"
    data["PixelData"].is_undefined_length = bool(frame)
    for name, value in tags.items():
        if value is not None:
            setattr(data, name, value)
        elif name in data:
            delattr(data, name)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def place(index: int, orientation: Sequence[float], spacing: Sequence[float] = SPACING) -> list[float]:
    """Where slice `index` of a series begins."""
    normal = np.cross(orientation[:3], orientation[3:])
    return [float(value) for value in np.array(ORIGIN) + normal * spacing[0] * index]


def series(
    folder: Path,
    array: np.ndarray = VOLUME,
    orientation: Sequence[float] = ORIENTATIONS["axial"],
    names: Sequence[str] = (),
    **tags: Any,
) -> Path:
    """Write the slices of [D, H, W] along their normal; a tag that is a function is asked for each slice."""
    folder.mkdir(parents=True)
    for index, values in enumerate(array):
        own = {name: value(index) if callable(value) else value for name, value in tags.items()}
        where = {
            "ImagePositionPatient": place(index, orientation),
            "ImageOrientationPatient": list(orientation),
            "PixelSpacing": list(SPACING[1:]),
            "SliceThickness": 9,
            "InstanceNumber": 100 - index,
        }
        slice_file(folder / (names[index] if names else f"{index}.dcm"), values, **where | own)
    return folder


def enhanced(
    path: Path,
    array: np.ndarray = VOLUME,
    orientation: Sequence[float] = ORIENTATIONS["axial"],
    positions: Sequence[Sequence[float]] | None = None,
    rescales: Sequence[tuple[float, float]] = ((2, -1000),),
    **tags: Any,
) -> Path:
    """Write frames [D, H, W] with functional groups: positions of each frame, the rest shared where it is one."""
    where = [place(index, orientation) for index in range(len(array))] if positions is None else positions
    shared, frames = Dataset(), [Dataset() for _ in where]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=list(SPACING[1:]), SliceThickness=9)]
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=list(orientation))]
    transforms = [_item(RescaleSlope=slope, RescaleIntercept=start, RescaleType="HU") for slope, start in rescales]
    if len(transforms) == 1:
        shared.PixelValueTransformationSequence = transforms
    for index, frame in enumerate(frames):
        frame.PlanePositionSequence = [_item(ImagePositionPatient=list(where[index]))]
        if len(transforms) > 1:
            frame.PixelValueTransformationSequence = [transforms[index]]
    groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": frames}
    return slice_file(path, array, SOPClassUID=ENHANCED_CT, **groups | tags)


def _item(**tags: Any) -> Dataset:
    item = Dataset()
    for name, value in tags.items():
        setattr(item, name, value)
    return item


def without_preamble(path: Path, meta: bool = False) -> None:
    """Drop the preamble, and the file meta information where it is not kept."""
    content = path.read_bytes()[132:]
    if not meta:
        length = int.from_bytes(content[8:12], "little")
        content = content[12 + length :]
    path.write_bytes(content)
