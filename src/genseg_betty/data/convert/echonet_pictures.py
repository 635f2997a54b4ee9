"""Traced frames of EchoNet-Dynamic become pictures: an image and a mask of each, below `converted`.

A pixel belongs to the ventricle if its centre, (column, row), lies within the outline. Outlines that are first rounded
to whole pixels and drawn with their border, as some readers of this dataset do, are about 4 % larger.
"""

import io
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from genseg_betty.data.convert import Tell, is_inside, show_progress
from genseg_betty.data.convert.echonet_tables import TRACINGS, VIDEOS
from genseg_betty.data.convert.video import read_frames
from genseg_betty.data.formats import ImageError
from genseg_betty.data.source.files import Finding
from genseg_betty.files import atomic_write

IMAGES = "images"
MASKS = "masks"
ENDING = ".png"

Polygons = Mapping[int, np.ndarray]  # [40, 2] in (x, y), by frame


@dataclass(frozen=True)
class TracedVideo:
    """A video, and what is to be made of it."""

    video: str
    path: Path
    polygons: Polygons


def name_picture(video: str, frame: int) -> str:
    return f"{video}_{frame:04d}{ENDING}"


def find_done(folder: Path) -> set[str]:
    """The names of which both image and mask are there."""
    return _list_folder(folder / IMAGES) & _list_folder(folder / MASKS)


def _list_folder(folder: Path) -> set[str]:
    """The names in a folder, none where it is not there."""
    if not folder.is_dir():
        return set()
    return {unicodedata.normalize("NFC", name) for name in os.listdir(folder)}


def convert_videos(root: Path, folder: Path, work: Sequence[TracedVideo], progress: Tell | None) -> list[Finding]:
    """Write the pictures of these videos below `folder`; returns the faults of videos and outlines.

    Raises OSError where something cannot be written.
    """
    findings: list[Finding] = []
    for part in (IMAGES, MASKS):
        (folder / part).mkdir(parents=True, exist_ok=True)
    total = len(work)
    with show_progress(progress, "converting videos", total) as tell:
        for count, one in enumerate(work, start=1):
            findings += _convert_video(root, folder, one)
            tell(count, total)
    return findings


def _convert_video(root: Path, folder: Path, work: TracedVideo) -> list[Finding]:
    """Write image and mask of each traced frame; what is wrong with the video or its outlines comes back."""
    file = f"{VIDEOS}/{work.path.name}"
    if not is_inside(work.path, root):
        message = "is a link that leads out of the dataset's root and was not followed; copy the video in"
        return [Finding("unsafe", file, message)]
    findings = []
    left = dict(work.polygons)
    reason = "it ends before"
    try:
        for frame, image in read_frames(work.path, work.polygons):
            polygon = left.pop(frame)
            name = name_picture(work.video, frame)
            if not _save_frame(folder, name, image, polygon):
                message = f"{work.video}, frame {frame}: the outline lies outside the frame; mend its rows"
                findings.append(Finding("unreadable", TRACINGS, message))
    except ImageError as error:
        reason = str(error)
    if left:
        frames = ", ".join(map(str, left))
        message = f"lacks the traced frames {frames} ({reason}); fetch the video again"
        findings.append(Finding("unreadable", file, message))
    return findings


def _save_frame(folder: Path, name: str, image: np.ndarray, polygon: np.ndarray) -> bool:
    """Write a frame and its mask, the mask first. False, and nothing is written, where the mask would be empty."""
    mask = _draw_mask(polygon, image.shape)
    if not mask.any():
        return False
    _save_picture(folder / MASKS / name, mask)
    _save_picture(folder / IMAGES / name, image)
    return True


def _draw_mask(polygon: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[H, W] uint8, 255 where a pixel's centre lies within the polygon."""
    from matplotlib.path import Path as Outline

    rows, columns = np.indices(shape, dtype=np.float64)
    centres = np.column_stack([columns.ravel(), rows.ravel()])
    within = Outline(polygon).contains_points(centres)
    mask = np.where(within, 255, 0)
    return mask.astype(np.uint8).reshape(shape)


def _save_picture(path: Path, pixels: np.ndarray) -> None:
    content = io.BytesIO()
    picture = Image.fromarray(pixels)
    picture.save(content, format="PNG")
    atomic_write(path, content.getvalue())
