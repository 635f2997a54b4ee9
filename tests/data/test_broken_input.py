"""Every kind of broken input under its code and with its exact message, by the check and at training's door."""

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from omegaconf import OmegaConf

from data import bombs
from data.broken import ERRORS, SOUND, TOO_FEW, WARNINGS, Told, image_of, nifti, picture, sound
from genseg_betty.cli import main
from genseg_betty.data.formats import EXTENSIONS, ImageError, read_header, read_image, read_mask
from genseg_betty.data.inspect.check import check_dataset
from genseg_betty.data.loading import load_data
from genseg_betty.data.source.files import Finding
from genseg_betty.data.source.tree import Tree
from genseg_betty.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound dataset, in a folder of its own within `tmp_path`."""
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for index in range(SOUND):
        sound(tmp_path / "data", f"sound{index:02d}")
    return tmp_path / "data"


def assert_told(found: list[Finding], expected: list[Told]) -> None:
    """The findings are the expected ones, in any order."""
    found, expected = sorted(found, key=lambda one: one.file), sorted(expected, key=lambda one: one[1])
    assert [(one.code, one.file) for one in found] == [one[:2] for one in expected]
    for one, (_, _, message) in zip(found, expected, strict=True):
        assert re.fullmatch(bombs.pattern(message), one.message), one.message


def state(folder: Path) -> dict[str, object]:
    """All that is on disk below a folder."""
    return {
        str(path): os.readlink(path) if path.is_symlink() else (path.stat().st_mtime_ns, digest(path))
        for path in sorted(folder.rglob("*"))
    }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


@pytest.mark.parametrize("name", ERRORS)
def test_each_kind_is_told_and_refused_with_the_same_message(root: Path, dataset_yaml, name: str) -> None:
    expected, spoil = ERRORS[name]
    spoil(root, name)
    before = state(root.parent)
    config = dataset_yaml("folder", root=str(root))
    report = check_dataset(config)
    assert_told(report.errors, list(expected))
    with pytest.raises(UserError) as caught:
        load_data(OmegaConf.create({"dataset": config, "image_size": 32, "seed": 0}))
    head, *lines = str(caught.value).split("\n")
    count = "1 fault" if len(expected) == 1 else f"{len(expected)} faults"
    assert head == f"dataset folder at {root}: {count}"
    assert sorted(lines) == sorted(f"  {finding}" for finding in report.errors)
    assert state(root.parent) == before


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings(root: Path, dataset_yaml, name: str) -> None:
    expected, spoil = WARNINGS[name]
    spoil(root, name)
    report = check_dataset(dataset_yaml("folder", root=str(root)))
    assert report.errors == []
    assert_told(report.warnings, [expected])


def test_too_few(root: Path, dataset_yaml) -> None:
    for path in sorted(root.rglob("*.png")):
        if "sound00" not in path.name:
            path.unlink()
    config = dataset_yaml("folder", root=str(root))
    assert_told(check_dataset(config).errors, [("too_few", ".", TOO_FEW)])
    with pytest.raises(UserError) as caught:
        load_data(OmegaConf.create({"dataset": config, "image_size": 32, "seed": 0}))
    assert str(caught.value) == f"dataset folder at {root}: 1 fault\n  too_few: .: {TOO_FEW}"


def test_one_check_names_them_all(root: Path, dataset_yaml, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = [*ERRORS.items(), *WARNINGS.items()]
    assert len({name.split(".")[0] for name, _ in kinds}) == len(kinds)  # none spoils what another is about
    for name, (_, spoil) in kinds:
        spoil(root, name)
    before = state(root.parent)
    report = check_dataset(dataset_yaml("folder", root=str(root), n_labelled=200))
    told = [one[:2] for expected, _ in ERRORS.values() for one in expected]
    assert sorted((one.code, one.file) for one in report.errors) == sorted([*told, ("too_few", ".")])
    warned = {expected[:2] for expected, _ in WARNINGS.values()}
    assert {(one.code, one.file) for one in report.warnings} == warned
    assert len({*told, *warned}) >= 50
    with pytest.raises(SystemExit) as caught:
        main(["data", "check", "folder", f"root={root}", "n_labelled=200", "--json"])
    assert caught.value.code == 1
    assert json.loads(capsys.readouterr().out) == report.to_dict()
    assert state(root.parent) == before
    assert not (root.parent / "ran").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("extension", sorted({*EXTENSIONS} - {".jpeg", ".tiff", ".dicom", ".ima", ".img"}))
def test_whatever_is_damaged_the_fault_is_an_image_error(root: Path, extension: str) -> None:
    """Seeded damage of sound files; any other exception would end the check of a whole dataset."""
    random = np.random.default_rng(0)
    path = root / "images" / f"x{extension}"
    small = image_of("x")[:12, :10]
    write: dict[str, bombs.Writer] = {
        ".nii": lambda path: nifti(path, small),
        ".nii.gz": lambda path: nifti(path, small),
        ".mha": lambda path: SimpleITK.WriteImage(SimpleITK.GetImageFromArray(small), str(path)),
        ".mhd": lambda path: SimpleITK.WriteImage(SimpleITK.GetImageFromArray(small), str(path)),
        ".nrrd": lambda path: path.write_bytes(bombs.nrrd(bytes(64), endian="little", **bombs.PLACED)),
        ".nhdr": lambda path: SimpleITK.WriteImage(SimpleITK.GetImageFromArray(small), str(path)),
        ".dcm": lambda path: bombs.dicom(path),
        ".npy": lambda path: np.save(path, small),
        ".npz": lambda path: np.savez_compressed(path, small),
    }
    write.get(extension, lambda path: picture(path, small))(path)
    content = path.read_bytes()
    for _ in range(40):
        damaged = bytearray(content)
        for place in random.integers(0, min(len(content), 900), random.integers(1, 5)):
            damaged[place] = random.choice([0, 127, 255, random.integers(256)])
        path.write_bytes(damaged[: random.choice([len(damaged), random.integers(1, len(damaged))], p=[0.8, 0.2])])
        for read in (read_header, read_image, read_mask):
            with suppress(ImageError):
                read(path)


def test_links_to_themselves_and_to_pipes_are_not_opened(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "images" / "pipe.png").symlink_to("../pipe")
    (root / "images" / "loop.png").symlink_to("loop.png")
    tree = Tree(root, ["images/*.*"])
    assert {"images/pipe.png", "images/loop.png"}.isdisjoint(tree.files)
    assert tree.findings == [
        Finding("unsafe", "images/loop.png", "is a link that leads back to itself; remove it, or copy the file in")
    ]


def test_names_that_cannot_be_printed_are_told_and_passed_over(root: Path, dataset_yaml, capsys) -> None:
    for part in ("images", "masks"):
        for old, new in ((b"sound00", b"\xff\xc3\xa9"), (b"sound01", b"line\nbreak"), (b"sound02", b"\x1b[31mred")):
            os.rename(os.fsencode(root / part) + b"/" + old + b".png", os.fsencode(root / part) + b"/" + new + b".png")
    message = "has a name with control characters, or one that is no UTF-8 text; rename it"
    names = [r"\xffé.png", r"\x1b[31mred.png", r"line\nbreak.png"]
    expected = [("unsafe", f"{part}/{name}", message) for part in ("images", "masks") for name in names]
    assert_told(check_dataset(dataset_yaml("folder", root=str(root))).errors, expected)
    for flags in ([], ["--json"]):
        with pytest.raises(SystemExit) as caught:
            main(["data", "check", "folder", f"root={root}", *flags])
        assert caught.value.code == 1
        assert "\x1b" not in capsys.readouterr().out
