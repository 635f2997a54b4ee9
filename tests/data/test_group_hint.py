"""Names that look like several images of one patient propose a group; counters do not."""

import pytest

from genseg_betty.config import load_dataset_config
from genseg_betty.data.cases import open_dataset, scan_dataset
from genseg_betty.data.inspect.group_hint import propose_group

SEVERAL = {
    r"(IMG_\d+)_": [f"IMG_{index:02d}_{letter}" for index in range(10) for letter in "ab"],
    r"(P\d+)_": [f"P{index}_{side}" for index in range(12) for side in ("left", "right")],
    r"(case\d+)_": [f"case{index}_slice{slice:03d}" for index in range(5) for slice in range(8)],
    r"(\d+)[^\W\d_]": [f"{index}{letter}" for index in range(20) for letter in "ab"],
    r"(P\d+)-": [f"P{index}-{eye}-{visit}" for index in range(8) for eye in ("OD", "OS") for visit in (1, 2)],
    r"(Patient \d+) ": [f"Patient {index} {letter}" for index in range(9) for letter in "abc"],
    r"(scan\d+) \(": [f"scan{index} ({number})" for index in range(9) for number in (1, 2, 3)],
    r"(IMG_\d+)": [f"IMG_{index:02d}{change}" for index in range(8) for change in ("", "_flip", "_rot90")],
    r"([^\W\d_]+\d+)_": [f"{name}{index}_{side}" for index in range(3) for name in ("li", "é") for side in "lr"],
}
COUNTED = {
    "numbers": [f"{index:04d}" for index in range(40)],
    "words and numbers": [f"img{index:03d}" for index in range(40)],
    "with a separator": [f"img_{index:03d}" for index in range(12)],
    "archive": [f"CHNCXR_{index:04d}_{index % 2}" for index in range(40)],
    "classes": [f"{kind} ({index})" for kind in ("benign", "malignant", "normal") for index in range(15)],
    "one ending": [f"case{index:02d}_image" for index in range(30)],
    "longer numbers": [f"case_{index}" for index in range(1, 40)],
    "a few extended": [*(f"x_{index}" for index in range(30)), "x_1_flip", "x_2_flip", "x_3_flip"],
    "a few pairs": [*(f"x{index}" for index in range(30)), "x1_b", "x2_b"],
    "long videos": [f"v{video}_{frame}" for video in range(5) for frame in range(40)],
    "no letters": ["é", "___", "(1)", "-"],
    "none": [],
}


@pytest.mark.parametrize("group", SEVERAL)
def test_shared_beginnings_propose_a_group(group: str) -> None:
    hint = propose_group({f"images/{stem}.png": stem for stem in SEVERAL[group]})
    assert hint is not None
    assert hint.endswith(f": if so, set \"dataset.group='{group}'\", which keeps them in one part")


@pytest.mark.parametrize("kind", COUNTED)
def test_counters_do_not(kind: str) -> None:
    assert propose_group({f"images/{stem}.png": stem for stem in COUNTED[kind]}) is None


def test_the_proposal_fits_the_folder_too() -> None:
    """A number in the folder's name comes before that in the file's: the expression begins behind it."""
    hint = propose_group({f"set_2b/{stem}.png": stem for stem in SEVERAL[r"(\d+)[^\W\d_]"]})
    assert hint is not None
    assert r"'/(\d+)[^\W\d_]'" in hint


def test_it_is_a_note_and_what_it_proposes_can_be_set(tmp_path, dataset_yaml, write_pair) -> None:
    for stem in SEVERAL[r"(IMG_\d+)_"]:
        write_pair(tmp_path, stem)
    dataset = open_dataset(dataset_yaml("folder", root=str(tmp_path)))
    [note] = dataset.notes
    assert note.startswith("names look like several images of one patient (IMG_00_a, IMG_00_b): if so, set ")
    assert len({case.group for case in dataset.cases}) == 20  # proposed, not done
    proposed = note.split('"')[1]
    grouped, findings = scan_dataset(load_dataset_config("folder", root=tmp_path, overrides=[proposed]))
    assert (findings, grouped.notes) == ([], [])
    assert {case.group for case in grouped.cases} == {f"IMG_{index:02d}" for index in range(10)}
