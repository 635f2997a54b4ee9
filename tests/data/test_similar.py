"""Near duplicates: altered copies are found, pictures of different patients are not."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from genseg_betty.data.cases import open_dataset
from genseg_betty.data.formats import ImageError, read_image
from genseg_betty.data.inspect.signatures import make_signature, read_image_signature
from genseg_betty.data.inspect.similar import find_near_duplicates
from genseg_betty.data.phantom import KINDS, draw_phantom


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
    return {kind: [draw_phantom(kind, "source", 96, 0, index).image for index in range(60)] for kind in KINDS}


def signatures(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([make_signature(image) for image in images])


@pytest.mark.parametrize("kind", KINDS)
def test_different_patients_are_not_near_duplicates(phantoms: dict[str, list[np.ndarray]], kind: str) -> None:
    assert find_near_duplicates(signatures(phantoms[kind])) == []


def test_nor_are_those_of_several_kinds_together(phantoms: dict[str, list[np.ndarray]]) -> None:
    assert find_near_duplicates(signatures([image for images in phantoms.values() for image in images])) == []


@pytest.mark.parametrize("kind", KINDS)
def test_altered_copies_are_found_and_nothing_else(phantoms: dict[str, list[np.ndarray]], kind: str) -> None:
    """Every third image altered in one way, its neighbour in the next."""
    changes = list(ALTERED) * 2
    copies = [ALTERED[change](phantoms[kind][3 * place]) for place, change in enumerate(changes)]
    pairs = find_near_duplicates(signatures(phantoms[kind] + copies))
    missed = {changes[place] for place in range(len(changes)) if (3 * place, 60 + place) not in pairs}
    assert missed == set()
    assert len(pairs) == len(changes)


@pytest.mark.parametrize("kind", KINDS)
def test_two_images_are_enough(phantoms: dict[str, list[np.ndarray]], kind: str) -> None:
    first, second = phantoms[kind][:2]
    copy = ALTERED["all at once"](first)
    assert find_near_duplicates(signatures([first, copy])) == [(0, 1)]
    assert find_near_duplicates(signatures([first, second])) == []
    assert find_near_duplicates(signatures([first])) == []


def test_blocks_of_any_size_give_the_same_pairs(phantoms: dict[str, list[np.ndarray]]) -> None:
    images = [image for images in phantoms.values() for image in images[:30]]
    own = signatures(images + [ALTERED["brighter"](image) for image in images[::4]])
    whole = find_near_duplicates(own)
    assert whole == [(4 * copy, 90 + copy) for copy in range(23)]
    assert find_near_duplicates(own, block_values=1) == whole
    assert find_near_duplicates(own, block_values=7 * len(own)) == whole


def test_many_copies_of_few_pictures_are_all_found(phantoms: dict[str, list[np.ndarray]]) -> None:
    """Most of the dataset is one picture, so nothing sets the copies apart from the rest."""
    images = [phantoms["lung"][0] + shade for shade in range(20)] + phantoms["lung"][1:31]
    assert find_near_duplicates(signatures(images)) == [(i, j) for i in range(20) for j in range(i + 1, 20)]


def test_pairs_that_share_a_label_are_left_out(phantoms: dict[str, list[np.ndarray]]) -> None:
    first, second = phantoms["lesion"][:2]
    own = signatures([first, second, first, second, first])
    assert find_near_duplicates(own) == [(0, 2), (0, 4), (1, 3), (2, 4)]
    assert find_near_duplicates(own, [["a", "b", "c", "b", "c"]]) == [(0, 2), (0, 4)]
    assert find_near_duplicates(own, [["a", "b", "c", "b", "c"], ["x", "x", "x", "y", "y"]]) == [(0, 4)]


def test_images_without_content_are_like_nothing() -> None:
    flat = [np.full((40, 50, 1), value, np.float32) for value in (0, 90, 255)]
    assert find_near_duplicates(signatures([*flat, draw_phantom("lung", "source", 64, 0, 0).image])) == []


@pytest.mark.parametrize("depth", [1, 3, 4, 30])
def test_volumes(depth: int) -> None:
    noise = np.random.default_rng(0).standard_normal((12, depth, 40, 44)).astype(np.float32)
    volumes = [900 * gaussian_filter(one, (1, 2, 2))[..., None] for one in noise]
    copy = zoom(volumes[5], (1, 0.8, 0.8, 1), order=1)[:, 1:, :-1] * 1.3 + 40
    own = signatures([*volumes, copy])
    assert own.shape == (13, 64 * 64)
    assert find_near_duplicates(own, volumes=True) == [(5, 12)]


def textured(count: int, side: int = 96) -> list[np.ndarray]:
    """Pictures that look alike by nature: half of each is one pattern that all share."""
    random = np.random.default_rng(3)
    shared, *own = (gaussian_filter(random.standard_normal((side, side)), 3) for _ in range(count + 1))
    return [(128 + 400 * (shared + one))[..., None] for one in own]


def positions(image: np.ndarray) -> list[np.ndarray]:
    """The eight ways to lay a square on itself, by NumPy's own turns."""
    turns = [np.rot90(image, quarter) for quarter in range(4)]
    return turns + [turn[:, ::-1] for turn in turns]


@pytest.mark.parametrize("resize", [0.6, 1, 1.7])
@pytest.mark.parametrize("quality", [60, 90])
@pytest.mark.parametrize("crop", [0, 0.03, 0.05])
def test_copies_are_found_in_every_position(crop: float, quality: int, resize: float) -> None:
    """Sixteen pictures, each with one copy: position k of pictures k and k + 8, trimmed, resized, saved as JPEG."""
    images = textured(24)
    parts = [trimmed(image, crop) if crop else image for image in images[:16]]
    turned = [positions(part)[index % 8] for index, part in enumerate(parts)]
    copies = [as_jpeg(resized(image, resize), quality) for image in turned]
    assert find_near_duplicates(signatures(images + copies)) == [(index, 24 + index) for index in range(16)]


@pytest.mark.parametrize("edges", ["top left", "bottom right", "left"])
def test_copies_trimmed_at_some_edges_are_found(edges: str) -> None:
    images = textured(24)
    cut = 6  # of 96 pixels
    rows = slice(cut if "top" in edges else 0, -cut if "bottom" in edges else None)
    columns = slice(cut if "left" in edges else 0, -cut if "right" in edges else None)
    copies = [positions(image[rows, columns])[index] for index, image in enumerate(images[:8])]
    assert find_near_duplicates(signatures(images + copies)) == [(index, 24 + index) for index in range(8)]


def fundus(index: int) -> np.ndarray:
    """What one fundus camera takes of many eyes: the same bright disc on black, with the vessels of each."""
    random = np.random.default_rng(index)
    rows, columns = np.indices((128, 128)) - 64
    vessels = gaussian_filter(np.abs(gaussian_filter(random.standard_normal((128, 128)), 4)) < 0.008, 0.8, output=float)
    return ((130 - 25 * vessels) * (np.hypot(rows, columns) < 60))[..., None]


def test_the_frame_of_one_camera_makes_no_copies() -> None:
    images = [fundus(index) for index in range(30)]
    copies = [positions(images[index])[index] for index in range(8)]
    assert find_near_duplicates(signatures(images + copies)) == [(index, 30 + index) for index in range(8)]


@pytest.mark.parametrize("depth", [1, 3, 10, 16])
def test_volumes_mirrored_and_turned_are_copies(depth: int) -> None:
    """Along any axis, or by quarters within the slices."""
    noise = np.random.default_rng(0).standard_normal((20, depth, 40, 44)).astype(np.float32)
    volumes = [gaussian_filter(one, (1, 2, 2))[..., None] for one in noise]
    turned = [np.flip(volume, axes) for volume, axes in zip(volumes, [0, 1, 2, (0, 1), (0, 1, 2)], strict=False)]
    turned += [np.rot90(volume, index, (1, 2)) for index, volume in enumerate(volumes[5:8], start=1)]
    pairs = find_near_duplicates(signatures(volumes + turned), volumes=True)
    assert pairs == [(index, 20 + index) for index in range(8)]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_large_jpeg_has_the_thumbnail_of_all_its_pixels(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "a.JPG"
    picture(resized(textured(1)[0], 8.5)).convert(mode).save(file, quality=95)
    image = read_image(file)
    assert min(image.shape[:2]) > 512
    quick, whole = read_image_signature(file, image).astype(int), make_signature(image).astype(int)
    assert np.abs(quick - whole).max() <= 2
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ImageError, match="it is cut off"):
        read_image_signature(file)


@pytest.mark.parametrize(("name", "count"), [("nlm_mc", 0), ("buid", 17)])
def test_real_data(genseg_data: Path, dataset_yaml, name: str, count: int) -> None:
    dataset = open_dataset(dataset_yaml(name, root=str(genseg_data / name)))
    pairs = find_near_duplicates(signatures([read_image(case.image) for case in dataset.cases]))
    assert len(pairs) == count
    kinds = [{dataset.cases[index].id.split(" ")[0] for index in pair} for pair in pairs]
    assert all(len(kind) == 1 for kind in kinds)  # benign, malignant or normal: never of two kinds
