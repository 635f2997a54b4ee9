"""Near duplicates: altered copies are found, pictures of different patients are not."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from genseg_betty.data.cases import open_dataset
from genseg_betty.data.formats import read_image
from genseg_betty.data.phantom import KINDS, render
from genseg_betty.data.similar import near_duplicate_findings, near_duplicates, signature


def picture(image: np.ndarray) -> Image.Image:
    """[H, W, C] with values in 0..255 as a picture."""
    return Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8).squeeze())


def array(picture: Image.Image) -> np.ndarray:
    values = np.asarray(picture, dtype=np.float32)
    return values[:, :, None] if values.ndim == 2 else values


def as_jpeg(image: np.ndarray, quality: int = 60) -> np.ndarray:
    file = io.BytesIO()
    picture(image).save(file, "JPEG", quality=quality)
    return array(Image.open(file))


def resized(image: np.ndarray, factor: float) -> np.ndarray:
    height, width = image.shape[:2]
    return array(picture(image).resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC))


def trimmed(image: np.ndarray, share: float) -> np.ndarray:
    cut = round(share * len(image))
    return image[cut:-cut, cut:-cut]


ALTERED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "smaller": lambda image: resized(image, 0.75),
    "larger": lambda image: resized(image, 2.2),
    "jpeg": as_jpeg,
    "brighter": lambda image: image * 1.1 + 12,
    "flatter": lambda image: image * 0.5 + 60,
    "trimmed": lambda image: trimmed(image, 0.03),
    "stretched": lambda image: array(picture(image).resize((120, 80), Image.Resampling.BICUBIC)),
    "all at once": lambda image: as_jpeg(resized(trimmed(image, 0.02), 0.8) * 1.08 + 8),
}


@pytest.fixture(scope="module")
def phantoms() -> dict[str, list[np.ndarray]]:
    return {kind: [render(kind, "source", 96, 0, index).image for index in range(60)] for kind in KINDS}


def signatures(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([signature(image) for image in images])


@pytest.mark.parametrize("kind", KINDS)
def test_different_patients_are_not_near_duplicates(phantoms: dict[str, list[np.ndarray]], kind: str) -> None:
    assert near_duplicates(signatures(phantoms[kind])) == []


def test_nor_are_those_of_several_kinds_together(phantoms: dict[str, list[np.ndarray]]) -> None:
    assert near_duplicates(signatures([image for images in phantoms.values() for image in images])) == []


@pytest.mark.parametrize("kind", KINDS)
def test_altered_copies_are_found_and_nothing_else(phantoms: dict[str, list[np.ndarray]], kind: str) -> None:
    """Every third image altered in one way, its neighbour in the next."""
    changes = list(ALTERED) * 2
    copies = [ALTERED[change](phantoms[kind][3 * place]) for place, change in enumerate(changes)]
    pairs = near_duplicates(signatures(phantoms[kind] + copies))
    missed = {changes[place] for place in range(len(changes)) if (3 * place, 60 + place) not in pairs}
    assert missed == set()
    assert len(pairs) == len(changes)


@pytest.mark.parametrize("kind", KINDS)
def test_two_images_are_enough(phantoms: dict[str, list[np.ndarray]], kind: str) -> None:
    first, second = phantoms[kind][:2]
    copy = ALTERED["all at once"](first)
    assert near_duplicates(signatures([first, copy])) == [(0, 1)]
    assert near_duplicates(signatures([first, second])) == []
    assert near_duplicates(signatures([first])) == []


def test_blocks_of_any_size_give_the_same_pairs(phantoms: dict[str, list[np.ndarray]]) -> None:
    images = [image for images in phantoms.values() for image in images[:30]]
    own = signatures(images + [ALTERED["brighter"](image) for image in images[::4]])
    whole = near_duplicates(own)
    assert whole == [(4 * copy, 90 + copy) for copy in range(23)]
    assert near_duplicates(own, block_values=1) == whole
    assert near_duplicates(own, block_values=7 * len(own)) == whole


def test_many_copies_of_few_pictures_are_all_found(phantoms: dict[str, list[np.ndarray]]) -> None:
    """Most of the dataset is one picture, so nothing sets the copies apart from the rest."""
    images = [phantoms["lung"][0] + shade for shade in range(20)] + phantoms["lung"][1:31]
    assert near_duplicates(signatures(images)) == [(i, j) for i in range(20) for j in range(i + 1, 20)]


def test_pairs_that_share_a_label_are_left_out(phantoms: dict[str, list[np.ndarray]]) -> None:
    first, second = phantoms["lesion"][:2]
    own = signatures([first, second, first, second, first])
    assert near_duplicates(own) == [(0, 2), (0, 4), (1, 3), (2, 4)]
    assert near_duplicates(own, [["a", "b", "c", "b", "c"]]) == [(0, 2), (0, 4)]
    assert near_duplicates(own, [["a", "b", "c", "b", "c"], ["x", "x", "x", "y", "y"]]) == [(0, 4)]


def test_images_without_content_are_like_nothing() -> None:
    flat = [np.full((40, 50, 1), value, np.float32) for value in (0, 90, 255)]
    assert near_duplicates(signatures([*flat, render("lung", "source", 64, 0, 0).image])) == []


@pytest.mark.parametrize("depth", [1, 3, 4, 30])
def test_volumes(depth: int) -> None:
    noise = np.random.default_rng(0).standard_normal((12, depth, 40, 44)).astype(np.float32)
    volumes = [900 * gaussian_filter(one, (1, 2, 2))[..., None] for one in noise]
    copy = zoom(volumes[5], (1, 0.8, 0.8, 1), order=1)[:, 1:, :-1] * 1.3 + 40
    own = signatures([*volumes, copy])
    assert own.shape == (13, 64 * 64)
    assert near_duplicates(own) == [(5, 12)]


@pytest.fixture
def leaking(tmp_path: Path, phantoms: dict[str, list[np.ndarray]], dataset_yaml):
    """Twelve X-rays: c and i are copies of a, j has the pixels of a, k and l are copies of b."""
    a, b, *others = phantoms["lung"][:8]
    smaller = resized(a, 0.8)
    images = dict(zip("abdefgh", (a, b, *others), strict=False))
    images |= {"c": smaller, "i": as_jpeg(a), "j": a, "k": as_jpeg(b), "l": resized(b, 1.5)}
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, image in images.items():
        file = tmp_path / "images" / f"{'bb' if name in 'bk' else name * 2}_{name}.png"
        picture(image).save(file)
        Image.new("L", picture(image).size).save(tmp_path / "masks" / file.name)
    dataset = open_dataset(dataset_yaml("folder", root=str(tmp_path), group="/(..)_"))
    return dataset, [(case, signature(read_image(case.image))) for case in dataset.cases]


def test_findings_tell_pairs_of_other_groups_that_may_come_apart(leaking) -> None:
    dataset, own = leaking
    dataset.published_test = frozenset({"cc_c", "jj_j", "bb_k"})
    findings = near_duplicate_findings(dataset, own)
    # a and j are equal, b and k of one group, c and j both tested on
    pairs = {("cc_c", "aa_a"), ("ii_i", "aa_a"), ("ll_l", "bb_b"), ("ll_l", "bb_k"), ("ii_i", "cc_c"), ("jj_j", "ii_i")}
    assert {(f.file[7:11], f.message.split("images/")[1][:4]) for f in findings} == pairs
    assert len(findings) == len(pairs)
    assert {finding.code for finding in findings} == {"near_duplicate"}
    assert findings[0].message == (
        "looks like the same picture as images/aa_a.png (that one: train or validation; this one: test); expected a "
        "picture in one part alone, so give both the same group (dataset.group) or remove one"
    )


def test_findings_follow_a_split_of_the_users_own(leaking) -> None:
    dataset, own = leaking
    dataset.own_split = {"train": [case.id for case, _ in own], "validation": [], "test": []}
    assert near_duplicate_findings(dataset, own) == []
    dataset.own_split["train"].remove("ll_l")
    dataset.own_split["validation"] = ["ll_l"]
    found = [finding.message for finding in near_duplicate_findings(dataset, own)]
    assert ["(that one: train; this one: validation)" in message for message in found] == [True, True]


@pytest.mark.parametrize(("name", "count"), [("nlm_mc", 0), ("buid", 17)])
def test_real_data(genseg_data: Path, dataset_yaml, name: str, count: int) -> None:
    dataset = open_dataset(dataset_yaml(name, root=str(genseg_data / name)))
    pairs = near_duplicates(signatures([read_image(case.image) for case in dataset.cases]))
    assert len(pairs) == count
    kinds = [{dataset.cases[index].id.split(" ")[0] for index in pair} for pair in pairs]
    assert all(len(kind) == 1 for kind in kinds)  # benign, malignant or normal: never of two kinds
