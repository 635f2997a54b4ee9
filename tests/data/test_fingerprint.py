"""The fingerprint of hand-made cases, counted by hand, and the defaults that follow from it."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from genseg_betty.data.inspect.case_facts import CaseFacts
from genseg_betty.data.inspect.default_settings import default_batch_size, default_image_size, default_patch
from genseg_betty.data.inspect.fingerprint import Fingerprint, take_fingerprint
from genseg_betty.data.inspect.fingerprint_text import describe_fingerprint
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.source.case import Sample
from genseg_betty.errors import UserError
from genseg_betty.losses import BINARY, MULTICLASS

CLASSES = ("background", "cup", "disc")


def facts_of(image: np.ndarray, mask: np.ndarray | None = None, spacing: tuple[float, ...] | None = None) -> CaseFacts:
    mask = np.zeros(image.shape[:-1], dtype=np.int64) if mask is None else mask
    return CaseFacts.of_sample(Sample(image.astype(np.float32), mask, spacing), len(CLASSES))


def gray(height: int = 4, width: int = 5) -> np.ndarray:
    return np.arange(height * width, dtype=np.float32).reshape(height, width, 1)


def test_facts_of_a_case() -> None:
    mask = np.zeros((4, 5), dtype=np.int64)
    mask[0, :3], mask[3, 4] = 2, 1
    facts = facts_of(gray(), mask, (0.5, 0.25))
    assert facts.shape == (4, 5)
    assert facts.spacing == (0.5, 0.25)
    assert facts.counts == (16, 1, 3)
    assert facts.foreground == pytest.approx(0.2)
    assert facts.intensities == pytest.approx((0, 0.095, 9.5, 18.905, 19))
    assert (facts.channels, facts.eight_bit) == (1, True)


@pytest.mark.parametrize(
    ("value", "eight_bit"),
    [(0, True), (255, True), (255.5, False), (256, False), (-1, False), (100.5, False), (-0.25, False), (65535, False)],
)
def test_eight_bit_is_what_preprocessing_takes_for_it(value: float, eight_bit: bool) -> None:
    image = gray()
    image[2, 2] = value
    assert facts_of(image).eight_bit is eight_bit
    fitted = Preprocessing.fit([image], (32, 32), None, CLASSES, (0, 1, 2))
    assert (fitted.intensity == (0.0, 255.0)) is eight_bit


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("coloured", [False, True])
def test_a_stand_in_is_fitted_as_its_image(channels: int, coloured: bool) -> None:
    image = np.repeat(gray(), channels, axis=2)
    image[1, 1, -1] += coloured
    stand_in = facts_of(image).stand_in()
    assert stand_in.size <= 3
    assert stand_in.ndim == image.ndim
    fits = [Preprocessing.fit([one], (32, 32), None, CLASSES, (0, 1, 2)) for one in (image, stand_in)]
    assert fits[0] == fits[1]
    assert fits[0].channels == (3 if channels == 3 and coloured else 1)


def test_facts_survive_json() -> None:
    for spacing in (None, (1.5, 0.3)):
        facts = facts_of(gray() / 3, spacing=spacing)
        assert CaseFacts.from_dict(json.loads(json.dumps(asdict(facts)))) == facts


def made() -> Fingerprint:
    """Three cases of two patients: 4x4, 4x8 and 8x6 pixels with 1, 8 and 24 pixels of foreground."""
    facts = []
    for (height, width), foreground, high in (((4, 4), 1, 10), ((4, 8), 8, 4000), ((8, 6), 24, 20)):
        mask = np.zeros(height * width, dtype=np.int64)
        mask[:foreground] = 1
        mask[: foreground // 2] = 2
        image = np.zeros((height, width, 1))
        image[0, 0] = high
        facts.append(facts_of(image, mask.reshape(height, width), (height / 4, 1.0)))
    return take_fingerprint(facts, ["a", "b", "a"], CLASSES)


def test_fingerprint_of_three_cases() -> None:
    found = made()
    assert (found.cases, found.groups) == (3, 2)
    assert (found.smallest, found.median, found.largest) == ((4, 4), (4, 6), (8, 8))
    assert found.spacing == (1.0, 1.0)
    assert (found.channels, found.eight_bit) == (1, False)
    assert (found.intensities[0], found.intensities[2], found.intensities[4]) == (0, 0, 4000)
    assert found.foreground == pytest.approx((1 / 16, 1 / 4, 1 / 2))
    assert found.classes == pytest.approx({"background": 63 / 96, "cup": 17 / 96, "disc": 16 / 96})
    assert found.defaults.loss == "ce_dice"
    assert found.defaults.normalisation == "percentiles"


def test_json_holds_what_was_found_what_suits_and_what_is_used() -> None:
    used = replace(made().defaults, batch_size=2)
    plain = json.loads(json.dumps(made().to_dict(used)))
    assert plain["suits"] == {
        "image_size": [64, 64],
        "spacing": None,
        "channels": 1,
        "batch_size": 4,
        "loss": "ce_dice",
        "normalisation": "percentiles",
    }
    assert plain["used"] == {**plain["suits"], "batch_size": 2}
    assert plain["median"] == list(made().median)
    assert plain["classes"] == made().classes


def test_spacing_counts_only_where_every_case_has_it() -> None:
    cases = [facts_of(gray(), spacing=(1.0, 2.0)), facts_of(gray())]
    assert take_fingerprint(cases, "ab", CLASSES).spacing is None
    assert take_fingerprint(cases[:1], "a", CLASSES).spacing == (1.0, 2.0)


def test_images_and_volumes_do_not_mix() -> None:
    volume = np.zeros((3, 4, 5, 1))
    assert take_fingerprint([facts_of(volume)], "a", CLASSES).median == (3, 4, 5)
    with pytest.raises(UserError, match="found 1 images and 1 volumes among the labelled cases; expected one kind"):
        take_fingerprint([facts_of(gray()), facts_of(volume)], "ab", CLASSES)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ((256, 256), (256, 256)),
        ((767, 1022), (192, 256)),  # ISIC
        ((288, 384), (192, 256)),  # CVC-ClinicDB as published
        ((192, 256), (192, 256)),
        ((2048, 2048), (256, 256)),  # JSRT
        ((4020, 4892), (224, 256)),  # Montgomery
        ((4020, 4400), (256, 256)),  # nearly square
        ((100, 92), (96, 96)),
        ((128, 90), (128, 96)),
        ((40, 40), (64, 64)),
        ((30, 600), (64, 256)),
        ((600, 30), (256, 64)),
    ],
)
def test_default_image_size(sides: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert default_image_size(sides) == expected


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ((43, 59, 47), (48, 64, 48)),  # hippocampus, the largest
        ((400, 512, 512), (128, 128, 128)),
        ((12, 64.5, 130), (32, 80, 128)),
    ],
)
def test_default_patch(sides: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert default_patch(sides) == expected


def test_large_volumes_are_made_coarser_and_small_ones_are_not() -> None:
    """A CT of 400 x 512 x 512 voxels of 1.5 x 0.8 x 0.8 mm, and a brain of 36 x 50 x 35 of 1 mm."""
    for shape, spacing, wanted, size in (
        ((400, 512, 512), (1.5, 0.8, 0.8), (4.8, 2.56, 2.56), (128, 128, 128)),
        ((36, 50, 35), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (48, 64, 48)),
    ):
        facts = CaseFacts(shape, spacing, 1, False, (0, 0, 0, 0, 0), (10, 10))
        suits = take_fingerprint([facts] * 2, "ab", ("background", "organ")).defaults
        assert suits.spacing == pytest.approx(wanted)
        assert suits.image_size == size


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 64), 4), ((256, 256), 4), ((256, 512), 2), ((512, 512), 2), ((32, 48, 32), 4), ((128, 128, 128), 2)],
)
def test_default_batch_size(size: tuple[int, ...], expected: int) -> None:
    assert default_batch_size(size) == expected


@pytest.mark.parametrize(("classes", "fitting"), [(("background", "ulcer"), BINARY), (CLASSES, MULTICLASS)])
def test_the_default_loss_fits_the_outputs_and_has_dice(classes: tuple[str, ...], fitting: tuple[str, ...]) -> None:
    mask = np.zeros((4, 5), dtype=np.int64)
    facts = CaseFacts.of_sample(Sample(gray(), mask), len(classes))
    loss = take_fingerprint([facts], "a", classes).defaults.loss
    assert loss in fitting
    assert loss.endswith("_dice")


@pytest.mark.parametrize(
    ("origins", "told"),
    [
        ({"image_size": "set"}, "128×128 (as set; 64×64 would suit)"),
        ({"image_size": "trainer=quick"}, "128×128 (as trainer=quick has it; 64×64 would suit)"),
        ({"image_size": "experiment=demo"}, "128×128 (as experiment=demo has it; 64×64 would suit)"),
        ({"trainer.loss": "set"}, "128×128"),  # it follows from another setting: nobody has set it
    ],
)
def test_what_was_set_is_told_with_who_set_it(origins: dict[str, str], told: str) -> None:
    used = replace(made().defaults, image_size=(128, 128), batch_size=2)
    [line] = [line for line in describe_fingerprint(made(), used, origins).split("\n") if line.startswith("size:")]
    assert line.endswith(f"→ image_size {told}, batch 2")


def test_the_description_says_what_was_found_and_what_follows() -> None:
    used = replace(made().defaults, image_size=(128, 128))
    assert describe_fingerprint(made(), used, {"image_size": "set"}).split("\n") == [
        "3 labelled cases of 2 groups (train and validation; the test part is not looked at)",
        "size: 4×6 px (median; 4×4 to 8×8) → image_size 128×128 (as set; 64×64 would suit), batch 4",
        "spacing: 1 × 1 mm (median)",
        "colour: gray → channels 1",
        "intensities: 0 to 4000 → percentiles",
        "foreground: 25 % of a case (median; 6.25 % to 50 %) → loss ce_dice",
        "classes: background 65.6 %, cup 17.7 %, disc 16.7 %",
    ]


def test_the_description_of_a_small_foreground_in_colour() -> None:
    mask = np.zeros((100, 100), dtype=np.int64)
    mask[0, 0] = 1
    image = np.zeros((100, 100, 3), dtype=np.float32)
    image[0, 0, 0] = 255
    facts = CaseFacts.of_sample(Sample(image, mask), 2)
    found = take_fingerprint([facts] * 2, "ab", ("background", "ulcer"))
    assert describe_fingerprint(found, found.defaults).split("\n") == [
        "2 labelled cases (train and validation; the test part is not looked at)",
        "size: 100×100 px (all of them) → image_size 96×96, batch 4",
        "colour: RGB → channels 3",
        "intensities: 0 to 255 → 8-bit",
        "foreground: 0.01 % of a case (median; 0.01 % to 0.01 %) → loss bce_dice "
        "(so little foreground needs the Dice term)",
    ]
