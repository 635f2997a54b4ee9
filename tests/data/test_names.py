"""Names as people bring them: spelled in two ways, in other case, in lists from spreadsheets and editors."""

import json
import unicodedata
from pathlib import Path

import pytest

from genseg_betty.data.cases import open_dataset, scan_dataset
from genseg_betty.data.inspect.check import check_dataset
from genseg_betty.data.split.name_list import Names, read_list
from genseg_betty.data.splits import make_splits

COMPOSED, PARTED = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
PATIENTS = ("P00", "P01", "P02", "P03", "Patient 4", "Zoë", "p9", "P9", "Doe, John", "#7", "1", "5", "6")


def test_two_spellings_of_one_name_are_told(folder: Path, dataset_yaml, write_pair) -> None:
    for seed, name in enumerate((COMPOSED, PARTED)):
        write_pair(folder, name, seed=100 + seed)
    _, findings = scan_dataset(dataset_yaml("folder", root=str(folder)))
    assert [(finding.code, finding.file) for finding in findings] == [
        ("unsafe", f"images/{COMPOSED}.png"),
        ("unsafe", f"masks/{COMPOSED}.png"),
    ]
    assert r"in two Unicode forms (images/e\u0301.png and images/\xe9.png)" in findings[0].message
    assert "rename or remove one" in findings[0].message


def test_two_spellings_of_a_folder_are_told_where_a_file_is_in_both(tmp_path: Path, dataset_yaml, write_pair) -> None:
    for spelled in (COMPOSED, PARTED):
        write_pair(tmp_path / spelled, "a")
        write_pair(tmp_path / spelled, f"b{len(spelled)}")
    config = dataset_yaml("folder", root=str(tmp_path), images=["*/images/*.png"], masks=["{dir}/../masks/{stem}.png"])
    dataset, findings = scan_dataset(config)
    assert {finding.file for finding in findings} == {f"{COMPOSED}/{part}/a.png" for part in ("images", "masks")}
    assert {case.id for case in dataset.cases} == {"a", "b1", "b2"}


def test_names_that_differ_in_case_are_two_and_told(folder: Path, dataset_yaml, write_pair) -> None:
    for seed, name in enumerate(("A", "a")):
        write_pair(folder, name, seed=100 + seed)
    dataset = open_dataset(dataset_yaml("folder", root=str(folder)))
    found = {case.id: case.masks[0].name for case in dataset.cases}
    assert (found["A"], found["a"], len(found)) == ("A.png", "a.png", 22)
    assert dataset.notes == [
        "1 names differ in upper and lower case alone, and are one file on Windows and most Macs: "
        "images/A.png beside images/a.png"
    ]


@pytest.mark.parametrize("mask", ["IMG_01.PNG", "Img_01.png", "IMG_01_mask.png"])
def test_a_mask_in_other_case_is_its_images(folder: Path, dataset_yaml, write_pair, mask: str) -> None:
    write_pair(folder, "img_01")
    (folder / "masks" / "img_01.png").rename(folder / "masks" / mask)
    dataset = open_dataset(dataset_yaml("folder", root=str(folder)))
    assert {case.id: case.masks[0].name for case in dataset.cases}["img_01"] == mask
    assert dataset.notes == [
        "1 masks are named as their image but for upper and lower case, and taken for it: "
        f"masks/{mask} for images/img_01.png"
    ]


@pytest.mark.parametrize(
    ("images", "masks", "without"),
    [
        (("img",), ("Img", "IMG"), {"img"}),  # two masks, neither as the image
        (("img", "IMG"), ("Img",), {"img", "IMG"}),  # two images, one mask
        (("img", "IMG"), ("img",), {"IMG"}),  # the mask of the other
    ],
)
def test_other_case_is_no_match_where_two_could_be_meant(
    folder: Path, dataset_yaml, write_pair, images: tuple, masks: tuple, without: set
) -> None:
    for part, names in (("images", images), ("masks", masks)):
        for name in names:
            write_pair(folder / "new", name)
            (folder / "new" / part / f"{name}.png").rename(folder / part / f"{name}.png")
    dataset, findings = scan_dataset(dataset_yaml("folder", root=str(folder)))
    missing = {finding.file[7:-4] for finding in findings if finding.code == "missing_mask"}
    assert missing == without
    assert not without & {case.id for case in dataset.cases}


@pytest.fixture
def patients(tmp_path: Path, write_pair) -> Path:
    for index, name in enumerate(PATIENTS):
        for eye in "ab":
            write_pair(tmp_path / "data", f"{name}_{eye}", seed=2 * index + (eye == "b"))
    return tmp_path / "data"


LISTS: dict[str, tuple[bytes, set[str]]] = {
    "plain": (b"P00\nP01\n", {"P00", "P01"}),
    "no last newline": (b"P00\nP01", {"P00", "P01"}),
    "byte order mark": (b"\xef\xbb\xbfP00\r\nP01\r\n", {"P00", "P01"}),
    "old Mac": (b"P00\rP01\r", {"P00", "P01"}),
    "UTF-16": ("P00\r\nZoë\r\n".encode("utf-16"), {"P00", "Zoë"}),
    "UTF-16, big end": (b"\xfe\xff" + "P00\nZoë".encode("utf-16-be"), {"P00", "Zoë"}),
    "UTF-16 without its mark": ("P00\nP01".encode("utf-16-le"), {"P00", "P01"}),
    "Windows": ("Zoë\r\n".encode("cp1252"), {"Zoë"}),
    "other form": (unicodedata.normalize("NFD", "Zoë").encode(), {"Zoë"}),
    "other case": (b"p00\nZO\xc3\x8b\n", {"P00", "Zoë"}),
    "case that matters": (b"p9\n", {"p9"}),
    "spaces": (b"  P00 \n\tP01\n\n   \n", {"P00", "P01"}),
    "a space in a name": (b"Patient 4\nP00\n", {"Patient 4", "P00"}),
    "two spaces in a name": (b"patient  4\n", {"Patient 4"}),
    "two a line": (b"P00 P01\n", {"P00", "P01"}),
    "one line": (b"P00,P01;P02\tPatient 4", {"P00", "P01", "P02", "Patient 4"}),
    "quotes": (b"\"P00\"\n'P01'\n", {"P00", "P01"}),
    "remarks": (b"# tested on\nP00 # the first\n#P01\n", {"P00"}),
    "table": (b"patient,sex,age\nP00,f,63\nP01,m,70\n", {"P00", "P01"}),
    "table, name last": (b"No;Name\n1;P00\n2;Patient 4\n", {"P00", "Patient 4"}),
    "a title": (b"Patient ID\nP00\n", {"P00"}),
    "files": (b"images/P00_a.png\nP01_b.PNG\n", {"P00", "P01"}),
    "ids": (b"P00_a\np01_B\n", {"P00", "P01"}),
    "names in one column, numbers in others": (b"No,patient,age\n1,P00,5\n2,P01,6\n", {"P00", "P01"}),
    "an index before them": (b",patient\n0,P00\n1,P01\n", {"P00", "P01"}),
    "decimal commas": (b"Size;Patient\n1,5;P00\n1,7;P01\n", {"P00", "P01"}),
    "Excel's first line": (b"sep=;\r\nPatient;Age\r\nP00;63\r\n", {"P00"}),
    "commas in quotes": (b'patient,remark\n"P00","a, b"\n"Doe, John",x\n', {"P00", "Doe, John"}),
    "a comma in a name": (b"Doe, John\n", {"Doe, John"}),
    "a name that begins with #": (b"#7\n# P00\n", {"#7"}),
    "a column of parts": (b"patient,split\nP00,test\nP01,train\nP02,val\n", {"P00"}),
    "a column a part": (b"train,val,test\nP00,P01,P02\np9,,Patient 4\n", {"P02", "Patient 4"}),
    "a column of flags": (b"patient,is_test\nP00,1\nP01,0\n", {"P00"}),
    "flags that are names too": (b"name,test\n6,0\n5,1\n1,1\n", {"5", "1"}),
    "JSON": (b'["P00", "Doe, John"]', {"P00", "Doe, John"}),
    "JSON with parts": (b'{"train": ["P00"], "test": ["P01"]}', {"P01"}),
    "YAML": (b"test:\n  - P00\n  - 'P01'\n", {"P00", "P01"}),
    "bullets": (b"- P00\n* P01\n", {"P00", "P01"}),
    "Windows paths": (b"images\\P00_a.png\r\nC:\\data\\P01_b.png\r\n", {"P00", "P01"}),
    "two files a line": (b"images/P00_a.png images/P01_a.png\n", {"P00", "P01"}),
    "image and mask": (b"images/P00_a.png masks/P00_a.png\n", {"P00"}),
    "full width": ("Ｐ00\n".encode(), {"P00"}),
    "invisible marks": ("P00\u200b\n\u202aP01\u202c\n\xa0P02".encode(), {"P00", "P01", "P02"}),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_patients_is_read_as_it_is_meant(patients: Path, dataset_yaml, kind: str) -> None:
    content, expected = LISTS[kind]
    (patients / "test.txt").write_bytes(content)
    config = dataset_yaml("folder", root=str(patients), group="/([^/]+)_", split={"test_groups": ["test.txt"]})
    dataset, findings = scan_dataset(config)
    assert findings == []
    assert {case.group for case in dataset.cases if case.id in dataset.published_test} == expected
    splits = make_splits(dataset, None, None, 0)
    assert {id.rpartition("_")[0] for id in splits.test} == expected
    assert not expected & {id.rpartition("_")[0] for id in splits.train + splits.validation}


@pytest.mark.parametrize(
    ("content", "unknown"),
    [
        (b"P00\nP77\n", "'P77'"),
        (b"P00\nP0l\nPatient 5\n", "'P0l' and 'Patient 5'"),
        (b"patient,sex\nP00,f\nP77,m\n", "'P77'"),
        (b"P00,P77\nP01,P78\n", "'P77' and 'P78'"),
        (b"77\n78\n", "'77' and '78'"),
        (b"patient\n78\n", "'78'"),
        (b"Patient Zoe\nP00\n", "'Patient Zoe'"),
        (b"images/P77_a.png images/P00_a.png\n", "'images/P77_a.png'"),
        (b"patient,age\nP77,P00\n", "'P77'"),
    ],
)
def test_a_patient_that_is_not_there_is_refused(patients: Path, dataset_yaml, content: bytes, unknown: str) -> None:
    (patients / "test.txt").write_bytes(content)
    split = {"test_groups": ["test.txt"]}
    config = dataset_yaml("folder", root=str(patients), group="/([^/]+)_", split=split)
    fault = check_dataset(config).errors[0]
    assert (fault.code, fault.file) == ("missing_image", "test.txt")
    assert f"names groups that no labelled image has: {unknown}; expected names of groups" in fault.message
    config.split.published = True
    dataset, findings = scan_dataset(config)
    assert [finding.code for finding in findings] == ([] if dataset.published_test else ["too_few"])
    assert dataset.notes[0].startswith("test.txt names groups that no labelled image has: ")


def test_case_that_fits_two_patients_alike_is_none() -> None:
    names = Names({"p9_a": "p9", "P9_a": "P9", "Ä_a": "Ä"})
    assert [names.meant(name) for name in ("p9", "P9", "P9_A", "ä", "A")] == ["p9", "P9", None, "Ä", None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"P00\n" * 2**21, "more than 4194304 bytes"),
        (b"\xff\xfeP0\n", "can't decode"),
        (b'{"validation": ["P00"]}', "it is JSON of another form; expected a list of names"),
    ],
)
def test_what_is_no_list_is_told(patients: Path, dataset_yaml, content: bytes, message: str) -> None:
    (patients / "test.txt").write_bytes(content)
    split = {"test_groups": ["test.txt"]}
    _, findings = scan_dataset(dataset_yaml("folder", root=str(patients), group="/([^/]+)_", split=split))
    assert [finding.code for finding in findings] == ["unreadable"]
    assert message in findings[0].message
    with pytest.raises(ValueError, match=message):
        read_list(patients / "test.txt")


@pytest.mark.parametrize("key", ["test", "test_groups"])
def test_every_pattern_of_a_test_part_must_find_something(patients: Path, dataset_yaml, key: str) -> None:
    (patients / "test.txt").write_text("P00\n")
    found, absent = {"test": ("images/P00_*.png", "images/p00_*.png"), "test_groups": ("test.txt", "Test.txt")}[key]
    keys = {"root": str(patients), "group": "/([^/]+)_"}
    dataset, findings = scan_dataset(dataset_yaml("folder", split={key: [found, absent]}, **keys))
    assert len(dataset.published_test) == 2
    assert [finding.code for finding in findings] == ["too_few"]
    assert f"{absent} finds no " in findings[0].message
    for spared in ("optional", "published"):
        assert scan_dataset(dataset_yaml("folder", split={key: [found, absent], spared: True}, **keys))[1] == []


def listed(root: Path, dataset_yaml, *lists: str) -> list[tuple[str, str]]:
    config = dataset_yaml("folder", root=str(root), group="/([^/]+)_", split={"test_groups": lists})
    return [(finding.code, finding.message) for finding in scan_dataset(config)[1]]


@pytest.mark.parametrize(("titles", "second"), [("study,patient", "patient"), ("study,", ""), ("study,,", "")])
def test_a_table_that_names_two_groups_a_line_is_refused(patients: Path, dataset_yaml, titles, second) -> None:
    (patients / "test.csv").write_text(f"{titles}\nP00,P01\n")
    [(code, message)] = listed(patients, dataset_yaml, "test.csv")
    assert code == "unreadable"
    assert f"columns 'study' and '{second}' name different groups ('P00' and 'P01' in one line)" in message


def test_every_list_must_name_somebody_within_the_root(patients: Path, dataset_yaml, tmp_path: Path) -> None:
    (patients / "test [1].txt").write_text("P00\n")
    (patients / "none.txt").write_text("# nobody\n")
    (tmp_path / "outside.txt").write_text("P01\n")
    (patients / "link.txt").symlink_to(tmp_path / "outside.txt")
    assert listed(patients, dataset_yaml, "test [1].txt") == []
    [(code, message)] = listed(patients, dataset_yaml, "test [1].txt", "none.txt")
    assert (code, message[:25]) == ("too_few", "names nobody to test on; ")
    [(code, message)] = listed(patients, dataset_yaml, "test [1].txt", "link.txt")
    assert (code, message[:29]) == ("unsafe", "is a link that leads out of t")


def test_what_cannot_be_seen_in_a_name_tells_nothing() -> None:
    names = Names({"a": "علی\u200cرضا", "b": "👨\u200d👩", "P0 ": "P0 ", "P0": "P0"})
    assert [names.chosen([line]) for line in ("علی\u200cرضا", "علیرضا", "👨\u200d👩\u200e", "P0 ", "P0")] == [
        ({group}, []) for group in ("علی\u200cرضا", "علی\u200cرضا", "👨\u200d👩", "P0 ", "P0")
    ]


@pytest.mark.parametrize(("on_disk", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_what_a_user_types_may_be_in_another_form(tmp_path: Path, dataset_yaml, write_pair, on_disk, typed) -> None:
    def spelled(form: str, text: str) -> str:
        return unicodedata.normalize(form, text)

    for index in range(4):
        write_pair(tmp_path, spelled(on_disk, f"é{index}_a"), seed=index)
    (tmp_path / "images").rename(tmp_path / spelled(on_disk, "Prüfung"))
    (tmp_path / spelled(on_disk, "prüf.txt")).write_text("é1")
    keys = {"images": ["Prüfung/*.png"], "group": "/(é.)", "stem": "^(é.*)", "split": {"test_groups": ["prüf.txt"]}}
    typed_keys = json.loads(spelled(typed, json.dumps(keys, ensure_ascii=False)))
    dataset = open_dataset(dataset_yaml("folder", root=str(tmp_path), **typed_keys))
    assert ([case.group for case in dataset.cases], dataset.published_test) == (["é0", "é1", "é2", "é3"], {"é1_a"})


def test_the_icons_of_a_mac_are_passed_over(folder: Path, dataset_yaml) -> None:
    (folder / "images" / "Icon\r").touch()
    assert open_dataset(dataset_yaml("folder", root=str(folder))).notes == []


SPLIT = {"train": ["P00_a", "P00_b", "P01_a"], "validation": ["P02_a"], "test": ["Zoë_a"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_split_file_in_any_encoding(patients: Path, dataset_yaml, encoding: str, form: str) -> None:
    text = unicodedata.normalize(form, json.dumps(SPLIT, ensure_ascii=False))
    (patients / "mine.json").write_bytes(text.encode(encoding))
    dataset, findings = scan_dataset(dataset_yaml("folder", root=str(patients), split={"file": "mine.json"}))
    assert findings == []
    assert dataset.own_split == SPLIT


def test_a_split_file_that_names_cases_in_other_case_is_refused(patients: Path, dataset_yaml) -> None:
    (patients / "mine.json").write_text(json.dumps(SPLIT | {"test": ["zoë_A"]}))
    _, findings = scan_dataset(dataset_yaml("folder", root=str(patients), split={"file": "mine.json"}))
    assert [finding.code for finding in findings] == ["missing_image"]
    assert "names cases that are not there: zoë_A" in findings[0].message


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("mine.json", '{"train": ["P00_a"], "train": ["P01_a"]}', "it holds the key train more than once"),
        ("~nobody-here/mine.json", "", "and not there; looked at"),
        ("x" * 300, "", "and not there; looked at"),
    ],
)
def test_a_split_file_that_cannot_be_meant(patients: Path, dataset_yaml, file: str, content: str, message: str) -> None:
    (patients / "mine.json").write_text(content)
    _, findings = scan_dataset(dataset_yaml("folder", root=str(patients), split={"file": file}))
    assert [finding.code for finding in findings] == ["unreadable"]
    assert message in findings[0].message
