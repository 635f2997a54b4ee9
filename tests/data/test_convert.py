"""EchoNet-Dynamic's traced videos become images and masks: on a miniature of it that is made here."""

import csv
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import genseg_betty.data.convert
from genseg_betty.data.cases import open_dataset, scan_dataset
from genseg_betty.data.convert import Converted, convert_dataset
from genseg_betty.data.inspect.check import check_dataset
from genseg_betty.errors import UserError

SIZE = (48, 64)  # height, width: not square
FRAMES = 12
Line = tuple[float, float, float, float]


def ventricle(seed: int = 0) -> list[Line]:
    """A tracing of 21 rows: the long axis, then 20 chords across an egg with a shaking hand."""
    random = np.random.default_rng(seed)
    along = np.linspace(-0.98, 0.98, 20)
    x, y = random.uniform(25, 35), random.uniform(20, 26)
    half, width = random.uniform(14, 18), random.uniform(8, 12)
    reach = width * np.sqrt(1 - along**2) + random.uniform(0, 0.5, 20)
    chords = [(x - side, y + half * at, x + side, y + half * at + 0.3) for side, at in zip(reach, along, strict=True)]
    return [(x, y - half, x, y + half), *chords]


def box(left: float, top: float, right: float, bottom: float) -> list[Line]:
    """A tracing whose chords fill a rectangle; its long axis lies far off."""
    return [(-900.0, -900.0, 900.0, 900.0), *((left, y, right, y) for y in np.linspace(top, bottom, 20))]


def pixels(video: int, frame: int) -> np.ndarray:
    return np.random.default_rng([video, frame]).integers(0, 256, SIZE, dtype=np.uint8)


@dataclass
class Echonet:
    """A dataset folder in the publisher's layout."""

    root: Path
    listed: list[tuple[str, str]] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def video(
        self,
        name: str,
        images: Iterable[np.ndarray],
        part: str = "TRAIN",
        codec: str = "rawvideo",
        container: str = "avi",
    ) -> Path:
        av = pytest.importorskip("av", reason="PyAV reads and writes the videos: install genseg-betty[video]")
        path = self.root / "Videos" / (name if name.lower().endswith(".avi") else f"{name}.avi")
        path.parent.mkdir(parents=True, exist_ok=True)
        images = list(images)
        with av.open(str(path), "w", format=container) as file:
            stream = file.add_stream(codec, rate=50)
            stream.height, stream.width = images[0].shape
            stream.pix_fmt = {"rawvideo": "gray", "mjpeg": "yuvj420p", "huffyuv": "rgb24"}[codec]
            for image in images:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="gray")))
            file.mux(stream.encode())
        self.listed.append((path.stem, part))
        return path

    def trace(self, name: str, frame: object, lines: Iterable[tuple[Any, ...]]) -> None:
        self.rows += [(f"{name}.avi", *line, frame) for line in lines]

    def write(self) -> Path:
        """The tables, with some more columns as the publisher has them."""
        (self.root / "Videos").mkdir(parents=True, exist_ok=True)
        with (self.root / "FileList.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("FileName", "EF", "Split"), *((name, 55, part) for name, part in self.listed)])
        with (self.root / "VolumeTracings.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("FileName", "X1", "Y1", "X2", "Y2", "Frame"), *self.rows])
        return self.root


@pytest.fixture
def raw(tmp_path: Path) -> Echonet:
    """Four sound videos of two traced frames, one in each part and one more to train on."""
    made = Echonet(tmp_path / "EchoNet-Dynamic")
    for index, part in enumerate(("TRAIN", "VAL", "TEST", "TRAIN")):
        name = f"0X{index}A"
        made.video(name, (pixels(index, frame) for frame in range(FRAMES)), part)
        made.trace(name, 3, ventricle(2 * index))
        made.trace(name, 10, ventricle(2 * index + 1))
    return made


def test_a_dataset_that_names_a_converter_is_converted_when_it_is_opened(raw: Echonet, dataset_yaml) -> None:
    raw.video("0X9A", [pixels(9, 0)])  # not traced
    config = dataset_yaml("etab_lv_echonet", root=str(raw.write()))
    before, findings = scan_dataset(config, converting=False)
    assert (before.cases, {finding.code for finding in findings}) == ([], {"too_few", "unreadable"})
    report = check_dataset(config)
    assert (report.pairs, report.errors) == (8, [])
    assert report.notes == ["passed over 0X9A: videos without tracing"]
    dataset = open_dataset(config)
    assert {part: len(ids) for part, ids in dataset.own_split.items()} == {"train": 4, "validation": 2, "test": 2}
    (raw.root / "Videos" / "0X0A.avi").write_bytes(b"RIFF")
    for name in ("0X0A_0003.png", "0X0A_0010.png"):
        (raw.root / "converted" / "images" / name).unlink()
    assert [finding.file for finding in check_dataset(config).errors if finding.code == "unreadable"] == [
        "Videos/0X0A.avi"
    ]


def files_of(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def read(root: Path, part: str, name: str) -> np.ndarray:
    return np.asarray(Image.open(root / "converted" / part / f"{name}.png"))


def inside(lines: list[Line]) -> np.ndarray:
    """[H, W] whether a ray to the right of a pixel's centre crosses the outline an odd number of times."""
    outline = [line[:2] for line in lines[1:21]] + [line[2:] for line in lines[20:0:-1]]
    rows, columns = np.indices(SIZE)
    odd = np.zeros(SIZE, bool)
    for (x1, y1), (x2, y2) in zip(outline, outline[1:] + outline[:1], strict=True):
        between = (y1 > rows) != (y2 > rows)
        odd ^= between & (columns < x1 + (rows - y1) * (x2 - x1) / (y2 - y1))
    return odd


def shoelace(lines: list[Line]) -> tuple[float, float]:
    """Area and perimeter of a tracing's outline."""
    outline = np.array([line[:2] for line in lines[1:]] + [line[2:] for line in lines[:0:-1]])
    following = np.roll(outline, -1, axis=0)
    area = abs((outline[:, 0] * following[:, 1] - outline[:, 1] * following[:, 0]).sum()) / 2
    return area, float(np.hypot(*(following - outline).T).sum())


def test_traced_frames_become_images_and_masks(raw: Echonet) -> None:
    told: list[tuple[int, int]] = []
    result = convert_dataset("echonet", raw.write(), lambda done, total: told.append((done, total)))
    assert result == Converted(raw.root / "converted")
    assert told[-1] == (4, 4)
    names = [f"0X{video}A_{frame:04d}" for video in range(4) for frame in (3, 10)]
    expected = {f"{part}/{name}.png" for part in ("images", "masks") for name in names} | {"splits.json"}
    assert set(files_of(result.folder)) == expected
    for video in range(4):
        for frame, seed in ((3, 2 * video), (10, 2 * video + 1)):
            name = f"0X{video}A_{frame:04d}"
            np.testing.assert_array_equal(read(raw.root, "images", name), pixels(video, frame))
            expected_mask = np.where(inside(ventricle(seed)), 255, 0)
            np.testing.assert_array_equal(read(raw.root, "masks", name), expected_mask)
    assert json.loads((result.folder / "splits.json").read_text()) == {
        "train": ["0X0A_0003", "0X0A_0010", "0X3A_0003", "0X3A_0010"],
        "validation": ["0X1A_0003", "0X1A_0010"],
        "test": ["0X2A_0003", "0X2A_0010"],
    }


def test_a_dataset_yaml_reads_what_was_converted(
    raw: Echonet, dataset_yaml: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    convert_dataset("echonet", raw.write())
    assert "converting videos 4/4" in capsys.readouterr().err
    config = dataset_yaml(
        "folder",
        root=str(raw.root),
        images=["converted/images/*.png"],
        masks=["converted/masks/{stem}.png"],
        group=r"([^/]+)_\d+\.png$",
    )
    dataset, findings = scan_dataset(config)
    assert findings == []
    assert {case.id: case.group for case in dataset.cases} == {
        f"0X{video}A_{frame:04d}": f"0X{video}A" for video in range(4) for frame in (3, 10)
    }


def test_the_area_of_masks_is_that_of_their_outlines(raw: Echonet) -> None:
    raw.rows.clear()
    raw.video("many", [pixels(9, frame) for frame in range(40)])
    for frame in range(40):
        raw.trace("many", frame, ventricle(100 + frame))
    convert_dataset("echonet", raw.write())
    ratios = []
    for frame in range(40):
        area, perimeter = shoelace(ventricle(100 + frame))
        count = int((read(raw.root, "masks", f"many_{frame:04d}") == 255).sum())
        assert abs(count - area) < perimeter / 2
        ratios.append(count / area)
    assert np.mean(ratios) == pytest.approx(1, abs=0.005)  # a border drawn with the outline adds 4 % and more


@pytest.mark.parametrize(
    ("corners", "rows", "columns"),
    [
        ((10.5, 5.5, 30.5, 24.5), slice(6, 25), slice(11, 31)),
        ((-7.5, 5.5, 30.5, 400.5), slice(6, 48), slice(0, 31)),
        ((50.5, -3.5, 1e9, 10.5), slice(0, 11), slice(51, 64)),
    ],
)
def test_outlines_end_at_the_border_of_the_frame(
    raw: Echonet, corners: tuple[float, ...], rows: slice, columns: slice
) -> None:
    raw.rows.clear()
    raw.trace("0X0A", 0, box(*corners))
    assert convert_dataset("echonet", raw.write()).findings == ()
    expected = np.zeros(SIZE, np.uint8)
    expected[rows, columns] = 255
    np.testing.assert_array_equal(read(raw.root, "masks", "0X0A_0000"), expected)


@pytest.mark.parametrize("times", [2, 3, 4])
def test_of_a_repeated_tracing_the_first_counts(raw: Echonet, times: int) -> None:
    raw.rows.clear()
    raw.trace("0X0A", 1, ventricle(7))
    raw.trace("0X1A", 1, [*ventricle(7), *(line for again in range(1, times) for line in ventricle(7 + again))])
    assert convert_dataset("echonet", raw.write()).findings == ()
    np.testing.assert_array_equal(read(raw.root, "masks", "0X1A_0001"), read(raw.root, "masks", "0X0A_0001"))


def test_untraced_videos_and_tracings_of_unknown_ones_are_passed_over(raw: Echonet) -> None:
    raw.video("0XUNTRACED", [pixels(0, 0)], "TEST")
    raw.trace("0XGONE", 3, ventricle())
    result = convert_dataset("echonet", raw.write())
    assert result.findings == ()
    assert result.notes == (
        "passed over 0XUNTRACED: videos without tracing",
        "passed over 0XGONE: traced in VolumeTracings.csv, but neither in FileList.csv nor in Videos/",
    )
    assert len(list((result.folder / "images").iterdir())) == 8


def test_endings_and_names_as_they_come(raw: Echonet) -> None:
    raw.rows.clear()
    path = raw.video("Écho 1.AVI", [pixels(5, 0)])
    (path.parent / "._Écho 1.AVI").write_bytes(b"junk of a Mac")
    raw.trace("E\u0301cho 1", 0, ventricle())  # the other spelling of É
    result = convert_dataset("echonet", raw.write())
    assert result.findings == ()
    np.testing.assert_array_equal(read(raw.root, "images", "Écho 1_0000"), pixels(5, 0))


def test_motion_jpeg_as_published(raw: Echonet) -> None:
    raw.rows.clear()
    raw.video("0XJPEG", [np.full(SIZE, 28 * frame, np.uint8) for frame in range(10)], codec="mjpeg")
    for frame in (0, 5, 9):
        raw.trace("0XJPEG", frame, ventricle())
    convert_dataset("echonet", raw.write())
    for frame in (0, 5, 9):  # black stays 0 and bright 252: no narrower video range
        found = read(raw.root, "images", f"0XJPEG_{frame:04d}").astype(int)
        assert np.abs(found - 28 * frame).max() <= 1


def damage_frame(path: Path, frame: int) -> None:
    """Overwrite the header of one frame's chunk and what follows it."""
    content = bytearray(path.read_bytes())
    at = content.find(b"movi")
    for _ in range(frame + 1):
        at = content.find(b"00dc", at + 4)
    content[at : at + 120] = b"\x55" * 120
    path.write_bytes(content)


def damage_pixels(path: Path, frame: int) -> None:
    """End one frame's JPEG in its midst; its chunk keeps its length."""
    content = bytearray(path.read_bytes())
    at = content.find(b"movi")
    for _ in range(frame + 1):
        at = content.find(b"00dc", at + 4)
    size = int.from_bytes(content[at + 4 : at + 8], "little")
    middle = at + 8 + size * 3 // 4
    content[middle : at + 8 + size] = b"\xff\xd9" + bytes(at + 8 + size - middle - 2)
    path.write_bytes(content)


def break_things(raw: Echonet, outside: Path) -> list[tuple[str, str, str]]:
    """One of every fault; code, file and part of the message of each."""
    gray = [np.full(SIZE, 20 * frame, np.uint8) for frame in range(FRAMES)]
    for name in ("text", "empty", "folder", "damaged", "wide", "link", "short", "strange", "matroska"):
        codec = "huffyuv" if name == "strange" else "mjpeg"
        path = raw.video(name, gray, codec=codec, container=name if name == "matroska" else "avi")
        raw.trace(name, 2, ventricle())
        raw.trace(name, 9, ventricle())
        if name in ("text", "empty", "folder", "link"):
            path.unlink()
    videos = raw.root / "Videos"
    (videos / "text.avi").write_text("no video")
    (videos / "empty.avi").touch()
    (videos / "folder.avi").mkdir()
    damage_frame(videos / "damaged.avi", 5)
    raw.video("wide", [np.zeros((16, 2100), np.uint8)] * 10)
    outside.write_bytes((videos / "0X0A.avi").read_bytes())
    (videos / "link.avi").symlink_to(outside)
    raw.trace("short", FRAMES, ventricle())
    raw.listed += [("absent", "TRAIN"), ("0X1A", "DEV")]
    raw.trace("absent", 1, ventricle())
    raw.trace("0X0A", 4, ventricle()[:13])
    raw.trace("0X0A", 5, [*ventricle()[:20], (1, 2, "x", 4)])
    raw.trace("0X0A", 6, [*ventricle()[:20], (1, "inf", 3, 4)])
    raw.trace("0X0A", 7, [*ventricle()[:20], (1, 2)])
    raw.trace("0X0A", 8, box(100, 100, 120, 120))
    raw.trace("0X0A", "7.5", ventricle())
    raw.trace("0X1A", 123456, ventricle())
    return [
        ("unreadable", "Videos/text.avi", "lacks the traced frames 2, 9 (Invalid data"),
        ("unreadable", "Videos/empty.avi", "lacks the traced frames 2, 9 ("),
        ("unreadable", "Videos/folder.avi", "(it is no file); fetch the video again"),
        ("unreadable", "Videos/damaged.avi", "lacks the traced frames 2, 9 (it holds 11 of the 12 frames"),
        ("unreadable", "Videos/wide.avi", "(2100 x 16 pixels; expected sides up to 2048)"),
        (
            "unreadable",
            "Videos/strange.avi",
            "lacks the traced frames 2, 9 (Invalid argument; expected an AVI video coded as mjpeg or",
        ),
        ("unreadable", "Videos/matroska.avi", "lacks the traced frames 2, 9 (Invalid data"),
        ("unsafe", "Videos/link.avi", "is a link that leads out of the dataset's root"),
        ("unreadable", "Videos/short.avi", "lacks the traced frames 12 (it ends before)"),
        ("unreadable", "Videos/absent.avi", "is named in FileList.csv and VolumeTracings.csv and not there"),
        ("unreadable", "FileList.csv", "gives '0X1A' the Split 'DEV'; expected one of TRAIN, VAL, TEST"),
        ("unreadable", "VolumeTracings.csv", "0X0A, frame 4: is traced in 13 rows; expected 21"),
        ("unreadable", "VolumeTracings.csv", "0X0A, frame 5: row 21 of 21 holds a coordinate that is no number"),
        ("unreadable", "VolumeTracings.csv", "0X0A, frame 6: row 21 of 21 holds a coordinate that is no number"),
        ("unreadable", "VolumeTracings.csv", "0X0A, frame 7: is traced in 20 rows"),
        ("unreadable", "VolumeTracings.csv", "0X0A, frame 8: the outline lies outside the frame"),
        ("unreadable", "VolumeTracings.csv", "0X0A, frame ?: the column Frame holds no whole number"),
        ("unreadable", "VolumeTracings.csv", "0X1A, frame 123456: the column Frame holds no whole number from 0 to"),
    ]


def test_a_fault_is_told_and_stops_nothing_else(raw: Echonet, tmp_path: Path) -> None:
    expected = break_things(raw, tmp_path / "outside.avi")
    result = convert_dataset("echonet", raw.write())
    for code, file, message in expected:
        assert any((one.code, one.file) == (code, file) and message in one.message for one in result.findings), (
            f"{code} {file} {message}\nnot in\n" + "\n".join(map(str, result.findings))
        )
    assert len(result.findings) == len(expected)
    whole = {f"0X{video}A_{frame:04d}.png" for video in range(4) for frame in (3, 10)}
    parts = {"short_0002.png", "short_0009.png"}
    for part in ("images", "masks"):
        assert {path.name for path in (result.folder / part).iterdir()} == whole | parts
    assert convert_dataset("echonet", raw.root).findings == result.findings  # told each time, until mended


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("codec", ["rawvideo", "mjpeg"])
def test_a_truncated_video_gives_no_frame(raw: Echonet, keep: float, codec: str) -> None:
    raw.rows.clear()
    path = raw.video("cut", [np.full(SIZE, 20 * frame, np.uint8) for frame in range(FRAMES)], codec=codec)
    raw.trace("cut", 0, ventricle())
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    result = convert_dataset("echonet", raw.write())
    assert [finding.file for finding in result.findings] == ["Videos/cut.avi"]
    assert list((result.folder / "images").iterdir()) == []


@pytest.mark.parametrize("codec", ["rawvideo", "mjpeg"])
def test_a_lost_frame_never_shifts_the_others(raw: Echonet, codec: str) -> None:
    raw.rows.clear()
    path = raw.video("lost", [np.full(SIZE, 20 * frame, np.uint8) for frame in range(FRAMES)], codec=codec)
    raw.trace("lost", 9, ventricle())
    damage_frame(path, 5)
    (finding,) = convert_dataset("echonet", raw.write()).findings
    assert "it holds 11 of the 12 frames that its header names" in finding.message


def test_a_damaged_frame_is_told_not_patched_up(raw: Echonet) -> None:
    raw.rows.clear()
    path = raw.video("hurt", [pixels(8, frame) for frame in range(FRAMES)], codec="mjpeg")
    for frame in (4, 5, 9):
        raw.trace("hurt", frame, ventricle())
    damage_pixels(path, 5)
    result = convert_dataset("echonet", raw.write())
    (finding,) = result.findings
    assert finding.message.startswith("lacks the traced frames 5, 9 (Invalid data")
    assert [image.name for image in (result.folder / "images").iterdir()] == ["hurt_0004.png"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("FileList.csv", None, "FileList.csv: is not there"),
        ("VolumeTracings.csv", None, "VolumeTracings.csv: is not there"),
        ("VolumeTracings.csv", b"", "lacks the columns FileName, Frame, X1, Y1, X2, Y2 (found: none)"),
        ("VolumeTracings.csv", b"FileName,X1,Y1,Frame\n", "lacks the columns X2, Y2 (found: FileName, X1, Y1, Frame)"),
        ("FileList.csv", b"FileName,EF\n0X0A,50\n", "lacks the columns Split"),
        ("FileList.csv", b"FileName,Split\n\xff\xfe,TRAIN\n", "cannot be read ('utf-8' codec"),
        ("FileList.csv", b'FileName,Split\n"' + b"a" * 200_000, "cannot be read (field larger than"),
    ],
)
def test_unusable_tables(raw: Echonet, file: str, content: bytes | None, message: str) -> None:
    raw.write()
    (raw.root / file).unlink()
    if content is not None:
        (raw.root / file).write_bytes(content)
    with pytest.raises(UserError) as error:
        convert_dataset("echonet", raw.root)
    assert message in str(error.value)


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        convert_dataset("echonet", tmp_path)
    for name in ("Videos/", "FileList.csv", "VolumeTracings.csv"):
        assert f"{name}: is not there" in str(error.value)


def test_large_tables_are_refused(raw: Echonet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genseg_betty.data.convert, "MAX_TABLE", 100)
    with pytest.raises(UserError, match=r"VolumeTracings.csv: has more than"):
        convert_dataset("echonet", raw.write())


def run_and_die(root: Path, after: int) -> None:
    """Convert, and end as if killed when the given number of files have got their names."""
    replace, count = os.replace, 0

    def counted(source: Path, target: Path) -> None:
        nonlocal count
        if count == after:
            os._exit(9)
        count += 1
        replace(source, target)

    os.replace = counted  # type: ignore[assignment]
    convert_dataset("echonet", root, lambda done, total: None)


@pytest.mark.parametrize("after", [0, 1, 2, 7, 16])
def test_killed_and_resumed_gives_the_same_bytes(raw: Echonet, tmp_path: Path, after: int) -> None:
    folder = convert_dataset("echonet", raw.write()).folder
    expected = files_of(folder)
    folder.rename(tmp_path / "whole")
    child = multiprocessing.get_context("fork").Process(target=run_and_die, args=(raw.root, after))
    child.start()
    child.join(60)
    assert child.exitcode == 9
    named = [name for name in files_of(folder) if not Path(name).name.startswith(".")]
    assert len(named) == after
    images = {Path(name).name for name in named if name.startswith("images/")}
    assert images <= {Path(name).name for name in named if name.startswith("masks/")}
    convert_dataset("echonet", raw.root)
    found = files_of(folder)
    assert {name: content for name, content in found.items() if not Path(name).name.startswith(".")} == expected


def test_several_jobs_at_once(raw: Echonet, tmp_path: Path) -> None:
    folder = convert_dataset("echonet", raw.write()).folder
    expected = files_of(folder)
    folder.rename(tmp_path / "whole")
    fork = multiprocessing.get_context("fork")
    jobs = [fork.Process(target=convert_dataset, args=("echonet", raw.root, print)) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0] * 4
    assert files_of(folder) == expected


def test_what_is_done_is_left_alone(raw: Echonet, monkeypatch: pytest.MonkeyPatch) -> None:
    first = convert_dataset("echonet", raw.write())
    times = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
    monkeypatch.setitem(sys.modules, "av", None)  # nothing is decoded, nor is PyAV needed
    told: list[int] = []
    assert convert_dataset("echonet", raw.root, lambda done, total: told.append(done)) == first
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == times
    assert told == []
    for path in (raw.root / "Videos").iterdir():
        path.unlink()
    (raw.root / "Videos").rmdir()
    assert convert_dataset("echonet", raw.root) == first  # the videos are no longer needed


@pytest.mark.parametrize("part", ["images", "masks"])
def test_what_is_lost_is_made_again(raw: Echonet, part: str) -> None:
    folder = convert_dataset("echonet", raw.write()).folder
    expected = files_of(folder)
    (folder / part / "0X1A_0010.png").unlink()
    convert_dataset("echonet", raw.root)
    assert files_of(folder) == expected


def test_without_pyav_the_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = Echonet(tmp_path, [("0X0A", "TRAIN")])
    raw.trace("0X0A", 1, ventricle())
    (raw.write() / "Videos" / "0X0A.avi").touch()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"needs PyAV.*pip install 'genseg-betty\[video\]'"):
        convert_dataset("echonet", raw.root)


def test_nothing_is_written_out_of_the_root(raw: Echonet, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    raw.write()
    (raw.root / "converted").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"converted leads out of the dataset's root by a link; remove the link"):
        convert_dataset("echonet", raw.root)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_root_that_cannot_be_written(raw: Echonet) -> None:
    raw.write()
    (raw.root / "converted").write_text("in the way")
    with pytest.raises(UserError, match=r"converted cannot be written \(.+\); make room"):
        convert_dataset("echonet", raw.root)


def test_unknown_converter(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'camus' is no converter; expected one of echonet"):
        convert_dataset("camus", tmp_path)
