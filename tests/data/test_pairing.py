"""What publishers choose: stems, groups in mask patterns, numbered sequences, files to pass over, scaled masks."""

import random
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genseg_betty.data.cases import open_dataset, scan_dataset
from genseg_betty.data.formats import EXTENSIONS, Header
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.groups import case_groups
from genseg_betty.data.source.masks import read_indices, require_fitting
from genseg_betty.data.source.pairing import layout
from genseg_betty.data.source.patterns import compile_pattern, fill_pattern, normalise_pattern
from genseg_betty.data.source.tree import Tree
from genseg_betty.errors import UserError


def touch(root: Path, *names: str, size: tuple[int, int] = (8, 10), value: int = 0) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(size, value, np.uint8)).save(root / name)


def faults(config) -> list[tuple[str, str]]:
    return sorted((finding.code, finding.file) for finding in scan_dataset(config)[1])


def pairs(dataset: Dataset) -> dict[str, list[str]]:
    root = dataset.root
    assert root is not None
    return {
        case.image.relative_to(root).as_posix(): [path.relative_to(root).as_posix() for path in case.masks]
        for case in dataset.cases
    }


def test_stem_picks_a_part_of_the_name(tmp_path: Path, dataset_yaml) -> None:
    touch(tmp_path, "a/L1_orig.png", "a/L1_contour.png", "b/L_2_ORIG.png", "b/L_2_contour.png")
    keys = {"root": str(tmp_path), "images": ["*/*orig.png", "*/*ORIG.png"], "masks": ["{dir}/{stem}_contour.png"]}
    config = dataset_yaml("folder", **keys, stem="(?i)^(.+)_orig$")
    dataset = open_dataset(config)
    assert pairs(dataset) == {"a/L1_orig.png": ["a/L1_contour.png"], "b/L_2_ORIG.png": ["b/L_2_contour.png"]}
    assert [case.id for case in dataset.cases] == ["L1_orig", "L_2_ORIG"]
    assert faults(dataset_yaml("folder", **keys, stem="^(L1)_orig$")) == [
        ("missing_image", "b/L_2_contour.png"),
        ("missing_mask", "b/L_2_ORIG.png"),
    ]
    message = str(scan_dataset(dataset_yaml("folder", **keys, stem="^(L1)_orig$"))[1][0])
    assert "dataset.stem '^(L1)_orig$' finds no stem in its name" in message
    assert "{stem} is what (?i)^(.+)_orig$ finds in an image's stem" in layout(config)


def test_a_stem_with_wildcards_and_braces_stands_for_itself() -> None:
    names = {"stem": "a*{dir}?", "group": "{stem}"}
    assert fill_pattern("{dir}/{group}/{stem}*.png", "in*", **names) == "in\0/{stem}/a\0{dir}\1*.png"
    assert fill_pattern("{dir}/{group}/{stem}.png", "in") == "in/*/*.png"


def test_group_in_mask_patterns(tmp_path: Path, dataset_yaml) -> None:
    touch(tmp_path, "12D/images/12D.png", "12D/masks/12_m.png", "12D/masks/MASK-7.png")
    touch(tmp_path, "12D_F/images/12D_F.png", "12D_F/masks/12.png", "7D/images/7D.png", "7D/masks/7-x.png")
    keys = {"root": str(tmp_path), "images": ["*/images/*.png"], "masks": ["{dir}/../masks/{group}*.*"]}
    config = dataset_yaml("folder", **keys, group=r"(?:^|/)(\d+)\w*/images/", ignore=["**/MASK-*"])
    dataset = open_dataset(config)
    assert pairs(dataset) == {
        "12D/images/12D.png": ["12D/masks/12_m.png"],
        "12D_F/images/12D_F.png": ["12D_F/masks/12.png"],
        "7D/images/7D.png": ["7D/masks/7-x.png"],
    }
    assert [case.group for case in dataset.cases] == ["12", "12", "7"]
    config.ignore = []
    assert faults(config) == [("missing_image", "12D/masks/MASK-7.png")]
    assert "dataset.ignore" in str(scan_dataset(config)[1][0])
    config.group = r"(\d+)D_F/"
    with pytest.raises(UserError, match=r"finds no group for 12D/images/12D\.png and 7D/images/7D\.png; expected"):
        open_dataset(config)


def test_group_starts_cut_numbered_files_into_sequences() -> None:
    names = [f"scan2/f{number:03d}b.png" for number in (1, 25, 26, 50, 51, 612)] + ["12/x7_26.png"]
    groups, faults = case_groups({"group_starts": [1, 26, 51]}, names)
    assert not faults
    assert list(groups.values()) == ["1", "1", "26", "26", "51", "51", "26"]
    assert case_groups({}, names) == ({}, [])
    bad = ["5/a.png", *(f"{number}.png" for number in range(9))]
    groups, faults = case_groups({"group_starts": [7, 8]}, bad)
    assert groups == {"7.png": "7", "8.png": "8"}
    assert [(fault.code, fault.file, fault.message) for fault in faults] == [
        (
            "too_few",
            ".",
            "dataset.group_starts finds no group for 5/a.png, 0.png, 1.png, 2.png, 3.png and 3 more; expected a number "
            "in each file's name, 7 or higher (the first start)",
        )
    ]


def test_group_starts_of_a_yaml(folder: Path, dataset_yaml) -> None:
    dataset = open_dataset(dataset_yaml("folder", root=str(folder), group_starts=[0, 5, 18]))
    assert [case.group for case in dataset.cases] == ["0"] * 5 + ["5"] * 13 + ["18"] * 2


def test_ignored_files_folders_and_links(folder: Path, tmp_path: Path, dataset_yaml) -> None:
    touch(folder, "images/Thumbs.png", "masks/Thumbs.PNG", "masks/extra/x.png", "Thumbs.png")
    (folder / "masks" / "out.png").symlink_to(tmp_path / "elsewhere.png")
    keys = {"images": ["images/**/*.*"], "masks": ["masks/**/{stem}.*"]}
    config = dataset_yaml("folder", root=str(folder), **keys)
    assert faults(config) == [("missing_image", "masks/extra/x.png"), ("unsafe", "masks/out.png")]
    config = dataset_yaml("folder", root=str(folder), **keys, ignore=["masks/extra", "**/Thumbs.png", "**/out.*"])
    assert faults(config) == []
    assert "Thumbs" not in [case.id for case in open_dataset(config).cases]
    with pytest.raises(UserError, match="leads out of"):
        scan_dataset(dataset_yaml("folder", root=str(folder), ignore=["../*.png"]))


def test_folders_that_macs_add_are_passed_over(folder: Path, dataset_yaml) -> None:
    (folder / "images" / "sub").mkdir()
    for place in ("__MACOSX/images", "images/__MACOSX", "images/sub/__macosx"):
        shutil.copytree(folder / "masks", folder / place)
    keys = {"images": ["**/images/**/*.*"], "masks": ["masks/{stem}.*"]}
    assert len(open_dataset(dataset_yaml("folder", root=str(folder), **keys)).cases) == 20
    assert not [name for name in Tree(folder, ["**/*.png"]).files if "macosx" in name.lower()]


@pytest.mark.parametrize(("mask", "image"), [((8, 10), (16, 20)), ((16, 20), (8, 10)), ((100, 60), (331, 200))])
def test_scaled_masks_are_brought_to_the_size_of_their_image(
    tmp_path: Path, dataset_yaml, mask: tuple[int, int], image: tuple[int, int]
) -> None:
    touch(tmp_path, "images/a.png", size=image)
    values = np.random.default_rng(0).integers(0, 2, mask).astype(np.uint8) * 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(values).save(tmp_path / "masks" / "a.png")
    dataset = open_dataset(dataset_yaml("folder", root=str(tmp_path), scaled_masks=True))
    expected = Image.fromarray(values).resize(image[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(dataset.load(dataset.cases[0]).mask, np.asarray(expected) > 0)
    unscaled = open_dataset(dataset_yaml("folder", root=str(tmp_path)))
    with pytest.raises(UserError, match=r"expected equal sizes.*dataset\.scaled_masks=true"):
        unscaled.load(unscaled.cases[0])


@pytest.mark.parametrize(
    ("mask", "image", "scaled"),
    [
        ((8, 10), (20, 16), True),
        ((100, 100), (200, 203), True),
        ((100, 100), (200, 202), False),
        ((5, 8, 10), (8, 10), True),
        ((5, 8, 10), (10, 16, 20), True),
    ],
)
def test_other_sizes_are_a_mismatch(mask: tuple[int, ...], image: tuple[int, ...], scaled: bool) -> None:
    with pytest.raises(UserError, match="; expected equal sizes") as caught:
        require_fitting(mask, image, scaled)
    assert caught.value.code == "size_mismatch"
    sizes = ["x".join(map(str, size[::-1])) for size in (mask, image)]
    assert f"mask is {sizes[0]}" in str(caught.value)
    assert f"image {sizes[1]}" in str(caught.value)


def test_proportions_may_differ_by_one_percent() -> None:
    require_fitting((100, 100), (200, 202), True)
    require_fitting((100, 100), (1000, 995), True)
    require_fitting((7, 7), (7, 7), False)


def test_a_mask_alone_keeps_its_own_size(folder: Path, dataset_yaml) -> None:
    dataset = open_dataset(dataset_yaml("folder", root=str(folder), scaled_masks=True))
    path = folder / "masks" / "case00.png"
    assert read_indices(path, dataset.labels, None, True)[0].shape == (40, 40)
    assert dataset.read_mask(path, Header((20, 20)))[0].shape == (20, 20)


def test_a_volume_and_its_mask_are_compared_in_depth_too(tmp_path: Path, dataset_yaml) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    np.save(tmp_path / "images" / "a.npy", np.zeros((5, 8, 10)))
    np.save(tmp_path / "masks" / "a.npy", np.ones((5, 8, 10), np.uint8))
    dataset = open_dataset(dataset_yaml("folder", root=str(tmp_path)))
    sample = dataset.load(dataset.cases[0])
    assert (sample.image.shape, sample.mask.shape) == ((5, 8, 10, 1), (5, 8, 10))
    np.save(tmp_path / "masks" / "a.npy", np.ones((4, 8, 10), np.uint8))
    with pytest.raises(UserError, match="mask is 10x8x4 voxels and its image 10x8x5; expected equal sizes"):
        dataset.load(dataset.cases[0])


def test_layout_names_what_braces_stand_for(dataset_yaml) -> None:
    config = dataset_yaml("folder", masks=["{dir}/{group}.png"], group=r"(\d+)/")
    assert layout(config).endswith(r"masks {dir}/{group}.png. {group} is what (\d+)/ finds in an image's path.")
    assert layout(dataset_yaml("folder")).endswith("masks/{stem}_segmentation.*.")


STEMS = [
    "a",
    "a1",
    "a10",
    "A",
    "a.b",
    "a.png",
    "a.nii",
    "a*",
    "a?b",
    "*",
    "a\nb",
    "a[1]",
    "a(b",
    "é",
    "e\u0301",
    "ß",
    "ſ",
    "K",
]
ENDINGS = [
    ".png",
    ".PNG",
    ".Png",
    ".tif",
    ".tiff",
    ".tıff",
    ".TİFF",
    ".nii",
    ".nii.gz",
    ".NII.gz",
    ".gz",
    ".jpg",
    ".txt",
    "",
]


def by_expression(tree: Tree, pattern: str) -> list[str]:
    """What a pattern matches, each file held against its regular expression."""
    expression = compile_pattern(normalise_pattern(pattern))
    fitting = [name for name in sorted(tree.files) if expression.fullmatch(name)]
    if pattern.endswith("/"):
        return [name for name in fitting if (tree.root / name).is_dir()]
    return [name for name in fitting if name.lower().endswith(EXTENSIONS)]


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    root = tmp_path_factory.mktemp("odd")
    draw = random.Random(0)
    for folder in ("", "m", "m/a", "m/a.png", "M", "n*"):
        (root / folder).mkdir(exist_ok=True)
        for stem in STEMS:
            for ending in draw.sample(ENDINGS, 7):
                if not (root / folder / (stem + ending)).exists():
                    (root / folder / (stem + ending)).touch()
    for series in ("m/series", "m/series.png", "m/series.tıff", "m/séries", "m/*"):
        (root / series).mkdir()
        (root / series / "0.dcm").write_bytes(bytes(128) + b"DICM")
    return Tree(root, ["**/*.*", "**/"])


@pytest.mark.parametrize("stem", [*STEMS, "series", "séries", "se\u0301ries", "absent"])
def test_a_name_without_wildcards_matches_as_its_expression_does(odd_names: Tree, stem: str) -> None:
    hidden = fill_pattern("{stem}", ".", unicodedata.normalize("NFC", stem))
    folders = ["", "./", "m/", "m/a/../", "m/a.png/", "M/", fill_pattern("{stem}", ".", "n*") + "/"]
    for pattern in [folder + hidden + ending for folder in folders for ending in [*ENDINGS, ".*", "/", ".png/", ".*/"]]:
        assert not re.search(r"[*?]", pattern.removesuffix("/").removesuffix(".*"))
        assert odd_names.match(pattern) == by_expression(odd_names, pattern), pattern


@pytest.mark.parametrize(
    "pattern", ["*", "a*", "m/*.png", "**/a*.*", "m/?.*", "**/a.nii*", "m/*/", "?/**/*.nii.gz", ".*"]
)
def test_a_pattern_with_wildcards_matches_as_its_expression_does(odd_names: Tree, pattern: str) -> None:
    assert odd_names.match(pattern) == by_expression(odd_names, pattern)


def test_odd_names_are_found(odd_names: Tree) -> None:
    assert len(odd_names.files) > 400
    found = {pattern: odd_names.match(pattern) for pattern in ("m/series/", "m/se\u0301ries/", "m/\0/", "m/series.*/")}
    assert found == {
        "m/series/": ["m/series"],
        "m/se\u0301ries/": ["m/séries"],
        "m/\0/": ["m/*"],
        "m/series.*/": ["m/series.png", "m/series.tıff"],
    }


def test_extensions_differ_in_case_alone(tmp_path: Path) -> None:
    for name in ("a.png", "a.PNG", "A.png", "a.nii.gz", "a.NII", "a.b.png", "a1.png", "a*.png", "é.tif", "a.txt"):
        (tmp_path / unicodedata.normalize("NFD", name)).touch()
    tree = Tree(tmp_path, ["*.*"])
    assert tree.match("a.png") == tree.match("./a.PNG") == ["a.PNG", "a.png"]
    assert tree.match("a.*") == ["a.NII", "a.PNG", "a.nii.gz", "a.png"]
    assert tree.match("a.nii.*") == []
    assert tree.match("a.b.*") == ["a.b.png"]
    assert tree.match(fill_pattern("{stem}.*", ".", "a*")) == ["a*.png"]
    assert tree.match("e\u0301.tif") == tree.match("é.TIF") == ["é.tif"]
    assert tree.match("a.txt") == tree.match("a") == []


def test_masks_below_the_images_are_no_images(tmp_path: Path, dataset_yaml) -> None:
    """Where the pattern of the images takes the masks too: what is another's mask and has none itself is no image."""
    for index in range(4):
        touch(tmp_path, f"p{index}/c{index}.png", f"p{index}/masks/c{index}.png", value=index)
    config = dataset_yaml("folder", root=str(tmp_path), images=["**/*.png"], masks=["{dir}/masks/{stem}.png"])
    assert pairs(open_dataset(config)) == {
        f"p{index}/c{index}.png": [f"p{index}/masks/c{index}.png"] for index in range(4)
    }


def test_a_folder_may_be_climbed_within_the_root(tmp_path: Path, dataset_yaml) -> None:
    for index in range(4):
        touch(tmp_path, f"data/images/p{index}/c{index}.png", f"data/masks/c{index}.png", value=index)
    keys = {"root": str(tmp_path), "images": ["data/images/*/*.png"]}
    dataset = open_dataset(dataset_yaml("folder", masks=["{dir}/../../masks/{stem}.png"], **keys))
    assert len(dataset.cases) == 4
    with pytest.raises(UserError, match="leads out of the dataset's root"):
        open_dataset(dataset_yaml("folder", masks=["{dir}/../../../../masks/{stem}.png"], **keys))


def test_files_that_no_pattern_takes_are_noted(folder: Path, dataset_yaml) -> None:
    touch(folder, "images/north/d0.png", "elsewhere/e.png")
    (folder / "images" / "u.jp2").write_bytes(b"x")
    dataset, findings = scan_dataset(dataset_yaml("folder", root=str(folder)))
    assert not findings
    assert dataset.notes == [
        "2 files in images, masks are no image and no mask by the patterns: images/north/d0.png and images/u.jp2"
    ]


def test_images_without_masks_are_counted(folder: Path, dataset_yaml) -> None:
    (folder / "masks" / "case03.png").unlink()
    dataset = open_dataset(dataset_yaml("folder", root=str(folder), unlabelled=True))
    assert dataset.notes == ["1 images have no mask and count as unlabelled data"]


def test_what_lies_there_instead_is_said(tmp_path: Path, dataset_yaml) -> None:
    touch(tmp_path, "Images/a.png", "Masks/a.png", "more.png")
    [finding] = scan_dataset(dataset_yaml("folder", root=str(tmp_path)))[1]
    assert "holds no image with its mask, only Images/, Masks/ and more.png. It holds Images/" in finding.message
    assert "rename them to images/ and masks/" in finding.message


@pytest.mark.parametrize("depth", ["", "a/", "a/b/"])
def test_masks_in_any_folder(tmp_path: Path, dataset_yaml, depth: str) -> None:
    names = ["x", "x_mask", "y", "z.1", "é*"]
    for index, name in enumerate(names):
        touch(tmp_path, f"images/{name}.png", value=index)
        touch(tmp_path, f"{depth}masks/{name}_mask.PNG", f"{depth}{name}_mask.png")
    config = dataset_yaml("folder", root=str(tmp_path), images=["images/*.png"], masks=["**/masks/{stem}_mask.png"])
    found = pairs(open_dataset(config))
    assert found == {f"images/{name}.png": [f"{depth}masks/{name}_mask.PNG"] for name in names}
