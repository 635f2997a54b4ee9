"""EchoNet-Dynamic: the traced frames of its videos become images, and the tracings masks of the left ventricle.

D. Ouyang et al., Video-based AI for beat-to-beat assessment of cardiac function, Nature 580, 252 (2020). Published as
`Videos/<video>.avi`, `FileList.csv` (the part of each video: TRAIN, VAL, TEST) and `VolumeTracings.csv`: of two frames
a video, end-diastole and end-systole, the long axis of the ventricle and 20 chords across it, (X1, Y1) to (X2, Y2).
The outline runs down the first ends of the chords and up the second ones.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from genseg_betty.data.convert import Converted, Tell, is_inside
from genseg_betty.data.convert.echonet_pictures import (
    ENDING,
    IMAGES,
    MASKS,
    TracedVideo,
    convert_videos,
    find_done,
    name_picture,
)
from genseg_betty.data.convert.echonet_tables import (
    FILE_LIST,
    TRACINGS,
    VIDEO_ENDING,
    VIDEOS,
    Outlines,
    Tables,
    make_polygon,
    read_tables,
    strip_ending,
)
from genseg_betty.data.convert.video import require_pyav
from genseg_betty.data.formats import ImageError
from genseg_betty.data.source.files import Finding
from genseg_betty.errors import UserError
from genseg_betty.faults import list_first
from genseg_betty.files import atomic_write, to_json

CONVERTED = "converted"
SPLITS = "splits.json"
MEND = f"copy it in, or remove its rows from {TRACINGS}"
PARTS = {"TRAIN": "train", "VAL": "validation", "TEST": "test"}
MAX_NAMED = 6  # videos of a note
MAX_LETTERS = 60  # of a video's name that is told


def convert_echonet(root: Path, progress: Tell | None = None) -> Converted:
    """Write `converted/{images,masks}/<video>_<frame:04d>.png` and `converted/splits.json` below the root.

    Images are [H, W] gray, 8 bit; masks 0 and 255. A mask is there before its image. What is there already is kept:
    delete `converted` to have it made anew. Of a frame traced more than once the first tracing counts. Videos
    without tracing are passed over, and told in the notes, as are tracings of videos that FileList.csv does not
    name. Faults come back as findings, `unreadable` or `unsafe`. Raises UserError, see `convert_dataset`.
    """
    folder = root / CONVERTED
    if not (root / VIDEOS).exists() and (folder / SPLITS).is_file():
        return Converted(folder)  # the videos were removed after the conversion
    for part in (IMAGES, MASKS):
        if not is_inside(folder / part, root):
            raise UserError(f"{folder} leads out of the dataset's root by a link; remove the link")

    # Faults of single videos and outlines are findings; all else is converted.
    tables = read_tables(root)
    videos = _find_videos(root)
    findings = _find_faults(tables, videos)
    work = _list_work(folder, tables, videos, findings)
    try:
        if work:
            require_pyav("EchoNet-Dynamic")
            findings += convert_videos(root, folder, work, progress)
        _write_splits(folder, tables)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror or error}); "
            "make room and give yourself the right to write there, or copy the dataset to a folder of your own"
        ) from error
    notes = _list_notes(tables, videos)
    return Converted(folder, tuple(findings), tuple(notes))


def _find_videos(root: Path) -> dict[str, Path]:
    """The files of the videos by name."""
    videos = {}
    for path in sorted((root / VIDEOS).iterdir()):
        name = path.name
        if name.lower().endswith(VIDEO_ENDING) and not name.startswith("."):
            videos[strip_ending(name)] = path
    return videos


def _find_faults(tables: Tables, videos: Mapping[str, Path]) -> list[Finding]:
    """Videos that both tables name and that are not there, and those in a part that is none."""
    findings = []
    named = tables.tracings.keys() & tables.parts.keys()
    for video in sorted(named - videos.keys()):
        finding = Finding(
            code="unreadable",
            file=f"{VIDEOS}/{video}{VIDEO_ENDING}",
            message=f"is named in {FILE_LIST} and {TRACINGS} and not there; {MEND}",
        )
        findings.append(finding)
    for video, part in sorted(tables.parts.items()):
        if part not in PARTS:
            given = f"gives {_shorten_name(video)!r} the Split {_shorten_name(part)!r}"
            expected = ", ".join(PARTS)
            findings.append(Finding("unreadable", FILE_LIST, f"{given}; expected one of {expected}"))
    return findings


def _shorten_name(name: str) -> str:
    return name[:MAX_LETTERS]


def _list_work(folder: Path, tables: Tables, videos: Mapping[str, Path], findings: list[Finding]) -> list[TracedVideo]:
    """The videos with frames that are not converted yet; outlines at fault become findings."""
    done = find_done(folder)
    work = []
    traced = tables.tracings.keys() & videos.keys()
    for video in sorted(traced):
        missing = {}
        for frame, rows in tables.tracings[video].items():
            if name_picture(video, frame) not in done:
                missing[frame] = rows
        polygons = _make_polygons(video, missing, findings)
        if polygons:
            work.append(TracedVideo(video, videos[video], polygons))
    return work


def _make_polygons(video: str, outlines: Outlines, findings: list[Finding]) -> dict[int, np.ndarray]:
    """The polygons of a video by frame; those that are none become findings."""
    polygons = {}
    for frame, rows in sorted(outlines.items()):
        try:
            polygons[frame] = make_polygon(frame, rows)
        except ImageError as error:
            number = frame if frame >= 0 else "?"
            message = f"{_shorten_name(video)}, frame {number}: {error}"
            findings.append(Finding(error.code, TRACINGS, message))
    return polygons


def _write_splits(folder: Path, tables: Tables) -> None:
    """The publisher's parts, as case ids of the frames that are there."""
    splits: dict[str, list[str]] = {part: [] for part in PARTS.values()}
    done = find_done(folder)
    for video in sorted(tables.tracings):
        part = PARTS.get(tables.parts.get(video, ""))
        if part is None:
            continue
        for frame in sorted(tables.tracings[video]):
            name = name_picture(video, frame)
            if name in done:
                splits[part].append(name.removesuffix(ENDING))
    if not any(splits.values()):
        return

    # A file that says the same is left as it is: others may not be allowed to write here.
    path = folder / SPLITS
    content = to_json(splits).encode()
    if not path.is_file() or path.read_bytes() != content:
        atomic_write(path, content)


def _list_notes(tables: Tables, videos: Iterable[str]) -> Iterator[str]:
    """What was passed over and is no fault."""
    found = set(videos)
    untraced = found - tables.tracings.keys()
    if untraced:
        yield f"passed over {_list_names(untraced)}: videos without tracing"
    lost = tables.tracings.keys() - found - tables.parts.keys()
    if lost:
        nowhere = f"neither in {FILE_LIST} nor in {VIDEOS}/"
        yield f"passed over {_list_names(lost)}: traced in {TRACINGS}, but {nowhere}"


def _list_names(videos: Iterable[str]) -> str:
    """The first few videos by name."""
    names = [_shorten_name(video) for video in sorted(videos)]
    return list_first(names, MAX_NAMED)
