"""EchoNet-Dynamic: the traced frames of its videos become images, and the tracings masks of the left ventricle.

D. Ouyang et al., Video-based AI for beat-to-beat assessment of cardiac function, Nature 580, 252 (2020). Published as
`Videos/<video>.avi`, `FileList.csv` (the part of each video: TRAIN, VAL, TEST) and `VolumeTracings.csv`: of two frames
a video, end-diastole and end-systole, the long axis of the ventricle and 20 chords across it, (X1, Y1) to (X2, Y2).
The outline runs down the first ends of the chords and up the second ones.

A pixel belongs to the ventricle if its centre, (column, row), lies within the outline. Outlines that are first rounded
to whole pixels and drawn with their border, as some readers of this dataset do, are about 4 % larger.
"""

import io
import math
import os
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
from PIL import Image

from genseg_betty.data.convert import Converted, Tell, is_inside, read_table, show_progress
from genseg_betty.data.convert.video import read_frames, require_pyav
from genseg_betty.data.formats import ImageError
from genseg_betty.data.source.files import Finding
from genseg_betty.errors import UserError
from genseg_betty.faults import list_first
from genseg_betty.files import atomic_write, to_json

FILE_LIST, TRACINGS, VIDEOS = "FileList.csv", "VolumeTracings.csv", "Videos"
CONVERTED, SPLITS = "converted", "splits.json"
COLUMNS = {FILE_LIST: ("FileName", "Split"), TRACINGS: ("FileName", "Frame", "X1", "Y1", "X2", "Y2")}
PARTS = {"TRAIN": "train", "VAL": "validation", "TEST": "test"}
ROWS = 21  # of one tracing: the long axis, then the chords
MAX_NAMED = 6  # videos of a note
MAX_FRAME = 9999  # published videos have up to about 1000 frames

# By frame, or -1 for what is none: X1, Y1, X2, Y2 of each row, NaN for a row with what is no number.
Outlines = dict[int, "array[float]"]


def convert(root: Path, progress: Tell | None = None) -> Converted:
    """Write `converted/{images,masks}/<video>_<frame:04d>.png` and `converted/splits.json` below the root.

    Images are [H, W] gray, 8 bit; masks 0 and 255. A mask is there before its image. What is there already is kept:
    delete `converted` to have it made anew. Of a frame traced more than once the first tracing counts. Videos
    without tracing are passed over, and told in the notes, as are tracings of videos that FileList.csv does not
    name. Faults come back as findings, `unreadable` or `unsafe`. Raises UserError, see `convert` of this package.
    """
    folder = root / CONVERTED
    if not (root / VIDEOS).exists() and (folder / SPLITS).is_file():
        return Converted(folder)  # the videos were removed after the conversion
    if not all(is_inside(folder / part, root) for part in ("images", "masks")):
        raise UserError(f"{folder} leads out of the dataset's root by a link; remove the link")
    parts, tracings = _read_tables(root)
    videos = _find_videos(root)
    absent = tracings.keys() & parts.keys() - videos.keys()
    odd = [video for video in sorted(parts) if parts[video] not in PARTS]
    findings = [_describe_absent(video) for video in sorted(absent)]
    findings += [_describe_odd_part(video, parts[video]) for video in odd]
    done = _find_done(folder)
    work = {}
    for video in sorted(tracings.keys() & videos.keys()):
        traced = tracings[video].items()
        outlines = {at: rows for at, rows in traced if _name_picture(video, at) not in done}
        sound = _find_sound(video, outlines, findings)
        if sound:
            work[video] = sound
    try:
        if work:
            require_pyav("EchoNet-Dynamic")
            findings += _convert_all(root, videos, work, progress)
        _write_splits(folder, parts, tracings)
    except OSError as error:
        message = f"cannot be written ({error.strerror or error}); make room and give yourself the right to write there"
        raise UserError(f"{folder} {message}, or copy the dataset to a folder of your own") from error
    return Converted(folder, tuple(findings), tuple(_list_notes(parts, tracings, videos)))


def _read_tables(root: Path) -> tuple[dict[str, str], dict[str, Outlines]]:
    """The part of each video, and its outlines. Raises UserError with all that is missing."""
    problems = [] if (root / VIDEOS).is_dir() else [f"  {VIDEOS}/: is not there; expected the folder of the videos"]
    parts: dict[str, str] = {}
    tracings: dict[str, Outlines] = {}
    try:
        parts = {_strip_ending(name): part for name, part in read_table(root, FILE_LIST, COLUMNS[FILE_LIST])}
    except UserError as error:
        problems.append(f"  {FILE_LIST}: {error}")
    try:
        for name, rows in groupby(read_table(root, TRACINGS, COLUMNS[TRACINGS]), key=itemgetter(0)):
            outlines = tracings.setdefault(_strip_ending(name), {})
            for _, frame, *ends in rows:
                at = int(frame) if frame.isdecimal() and len(frame) < 8 else -1
                outlines.setdefault(at, array("d")).extend(_read_numbers(ends))
    except UserError as error:
        problems.append(f"  {TRACINGS}: {error}")
    if problems:
        title = f"{root} is not EchoNet-Dynamic as published (see its page for the download):"
        raise UserError("\n".join([title, *problems]))
    return parts, tracings


def _strip_ending(name: str) -> str:
    """FileList.csv names the videos without .avi, VolumeTracings.csv with it."""
    name = unicodedata.normalize("NFC", name)
    return name[:-4] if name.lower().endswith(".avi") else name


def _read_numbers(texts: list[str]) -> list[float]:
    try:
        return list(map(float, texts))
    except ValueError:
        return [math.nan] * len(texts)


def _find_videos(root: Path) -> dict[str, Path]:
    paths = sorted(path for path in (root / VIDEOS).iterdir() if not path.name.startswith("."))
    return {_strip_ending(path.name): path for path in paths if path.name.lower().endswith(".avi")}


def _name_picture(video: str, frame: int) -> str:
    return f"{video}_{frame:04d}.png"


def _find_done(folder: Path) -> set[str]:
    """The names of which both image and mask are there."""
    return _list_folder(folder / "images") & _list_folder(folder / "masks")


def _list_folder(folder: Path) -> set[str]:
    """The names in a folder, none where it is not there."""
    names = os.listdir(folder) if folder.is_dir() else []
    return {unicodedata.normalize("NFC", name) for name in names}


def _describe_absent(video: str) -> Finding:
    message = f"is named in {FILE_LIST} and {TRACINGS} and not there; copy it in, or remove its rows from {TRACINGS}"
    return Finding("unreadable", f"{VIDEOS}/{video}.avi", message)


def _describe_odd_part(video: str, part: str) -> Finding:
    message = f"gives {video[:60]!r} the Split {part[:60]!r}; expected one of {', '.join(PARTS)}"
    return Finding("unreadable", FILE_LIST, message)


def _find_sound(video: str, outlines: Outlines, findings: list[Finding]) -> dict[int, np.ndarray]:
    """The polygons of a video, [40, 2] in (x, y), by frame; those that are none become findings."""
    sound = {}
    for frame, rows in sorted(outlines.items()):
        try:
            sound[frame] = _make_polygon(frame, rows)
        except ImageError as error:
            message = f"{video[:60]}, frame {frame if frame >= 0 else '?'}: {error}"
            findings.append(Finding(error.code, TRACINGS, message))
    return sound


def _make_polygon(frame: int, rows: "array[float]") -> np.ndarray:
    if not 0 <= frame <= MAX_FRAME:
        raise ImageError("unreadable", f"the column Frame holds no whole number from 0 to {MAX_FRAME}; mend the row")
    lines = np.asarray(rows).reshape(-1, 4)
    if len(lines) % ROWS:
        expected = f"expected {ROWS}, the long axis and {ROWS - 1} chords"
        raise ImageError("unreadable", f"is traced in {len(lines)} rows; {expected}: fetch the table again")
    chords = lines[1:ROWS]
    is_whole = np.isfinite(chords).all(axis=1)
    if not is_whole.all():
        row = int(np.flatnonzero(~is_whole)[0]) + 2
        raise ImageError("unreadable", f"row {row} of {ROWS} holds a coordinate that is no number; mend the row")
    down, up = chords[:, :2], chords[::-1, 2:]
    return np.concatenate([down, up])


def _convert_all(
    root: Path, videos: Mapping[str, Path], work: Mapping[str, Mapping[int, np.ndarray]], progress: Tell | None
) -> list[Finding]:
    """Raises OSError where something cannot be written."""
    findings: list[Finding] = []
    for part in ("images", "masks"):
        (root / CONVERTED / part).mkdir(parents=True, exist_ok=True)
    with show_progress(progress, "converting videos", len(work)) as tell:
        for count, (video, polygons) in enumerate(work.items(), start=1):
            findings += _convert_video(root, video, videos[video], polygons)
            tell(count, len(work))
    return findings


def _convert_video(root: Path, video: str, path: Path, polygons: Mapping[int, np.ndarray]) -> list[Finding]:
    file = f"{VIDEOS}/{path.name}"
    if not is_inside(path, root):
        message = "is a link that leads out of the dataset's root and was not followed; copy the video in"
        return [Finding("unsafe", file, message)]
    findings = []
    left = dict(polygons)
    reason = "it ends before"
    try:
        for frame, image in read_frames(path, polygons):
            mask = _draw_mask(left.pop(frame), image.shape)
            if mask.any():
                _save_picture(root / CONVERTED / "masks" / _name_picture(video, frame), mask)
                _save_picture(root / CONVERTED / "images" / _name_picture(video, frame), image)
            else:
                message = f"{video}, frame {frame}: the outline lies outside the frame; mend its rows"
                findings.append(Finding("unreadable", TRACINGS, message))
    except ImageError as error:
        reason = str(error)
    if left:
        message = f"lacks the traced frames {', '.join(map(str, left))} ({reason}); fetch the video again"
        findings.append(Finding("unreadable", file, message))
    return findings


def _draw_mask(polygon: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[H, W] uint8, 255 where a pixel's centre lies within the polygon."""
    from matplotlib.path import Path as Outline

    rows, columns = np.indices(shape, dtype=np.float64)
    within = Outline(polygon).contains_points(np.column_stack([columns.ravel(), rows.ravel()]))
    return np.where(within, 255, 0).astype(np.uint8).reshape(shape)


def _save_picture(path: Path, pixels: np.ndarray) -> None:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    atomic_write(path, content.getvalue())


def _write_splits(folder: Path, parts: dict[str, str], tracings: dict[str, Outlines]) -> None:
    """The publisher's parts, as case ids of the frames that are there."""
    splits: dict[str, list[str]] = {part: [] for part in PARTS.values()}
    done = _find_done(folder)
    for video in sorted(tracings):
        if parts.get(video) in PARTS:
            names = [_name_picture(video, frame) for frame in sorted(tracings[video])]
            part = PARTS[parts[video]]
            splits[part] += [name[:-4] for name in names if name in done]
    path = folder / SPLITS
    content = to_json(splits).encode()
    if any(splits.values()) and not (path.is_file() and path.read_bytes() == content):
        atomic_write(path, content)


def _list_notes(parts: Iterable[str], tracings: Iterable[str], videos: Iterable[str]) -> Iterator[str]:
    untraced = sorted({*videos} - {*tracings})
    lost = sorted({*tracings} - {*videos} - {*parts})
    if untraced:
        yield f"passed over {_list_names(untraced)}: videos without tracing"
    if lost:
        yield f"passed over {_list_names(lost)}: traced in {TRACINGS}, but neither in {FILE_LIST} nor in {VIDEOS}/"


def _list_names(names: list[str]) -> str:
    return list_first([name[:60] for name in names], MAX_NAMED)
