"""Which images an operation acts on, by how much and how often; and what a gradient finds on its way through."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from genseg_betty.augment import Augmentation
from genseg_betty.augment.intensity import ACTIONS, Intensity
from genseg_betty.config import conf_dir
from genseg_betty.errors import UserError

STRONG = OmegaConf.to_container(OmegaConf.load(conf_dir() / "augment" / "strong.yaml"))["intensity"]
ALWAYS = {name: {**keys, "probability": 1.0} for name, keys in STRONG.items()}
EVEN = ("brightness", "contrast", "inverted_gamma", "gamma")
DRAWS = 20_000
CASES = [(1, (16, 13)), (3, (16, 13)), (1, (7, 9, 8)), (3, (7, 9, 8))]


@pytest.fixture(scope="module")
def draws() -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    return dict(zip(STRONG, Intensity(**STRONG).draw_values(DRAWS, 3, 2).numpy(), strict=True))


@pytest.mark.parametrize("name", STRONG)
def test_probabilities_are_met(name: str, draws: dict[str, np.ndarray]) -> None:
    """Of images, and in the images that are chosen of channels; operations are drawn apart from each other."""
    keys, chosen = STRONG[name], draws[name][..., 0] > 0
    of_channels = keys.get("channels", 1.0)
    expected = keys["probability"] * of_channels
    assert abs(chosen.mean() - expected) < 0.01
    if of_channels == 1:
        assert (chosen.all(axis=1) == chosen.any(axis=1)).all()
    else:
        share = keys["probability"] * (1 - (1 - of_channels) ** 3)
        assert abs(chosen.any(axis=1).mean() - share) < 0.01
    for other in draws.keys() - {name}:
        together = (chosen[:, 0] & (draws[other][:, 0, 0] > 0)).mean()
        assert abs(together - expected * (draws[other][:, 0, 0] > 0).mean()) < 0.01


@pytest.mark.parametrize("name", STRONG)
def test_ranges_are_met(name: str, draws: dict[str, np.ndarray]) -> None:
    (least, most), values = STRONG[name]["range"], draws[name][..., 1:]
    width = most - least
    assert least <= values.min() < least + 0.001 * width
    assert most - 0.001 * width < values.max() <= most
    middle = 1 if name in EVEN else (least + most) / 2
    assert abs((values < middle).mean() - 0.5) < 0.01
    below = values[values < middle]
    assert abs(below.mean() - (least + middle) / 2) < 0.01 * width


def test_what_channels_and_axes_share(draws: dict[str, np.ndarray]) -> None:
    values = {name: draw[..., 1:] for name, draw in draws.items()}
    for name, value in values.items():
        assert (np.ptp(value, axis=1) == 0).all() == (name == "noise")
        assert (np.ptp(value, axis=2) == 0).all() == (name != "blur")


def test_images_that_are_not_chosen_stay() -> None:
    image = torch.rand(400, 1, 6, 6) * 2 - 1
    changed = Augmentation(intensity={"gamma": {"probability": 0.3, "range": [0.5, 0.6]}}).image(image)
    same = (changed == image).flatten(1).all(dim=1)
    assert abs(same.double().mean() - 0.7) < 0.08


@pytest.mark.parametrize("name", ALWAYS)
@pytest.mark.parametrize(("channels", "size"), CASES)
def test_each_operation_acts_on_its_own(name: str, channels: int, size: tuple[int, ...]) -> None:
    image = torch.rand(4, channels, *size) - 0.5
    keys = ALWAYS[name] | {"channels": 1.0}
    changed = Augmentation(intensity={name: keys}).image(image)
    assert (changed.shape, changed.dtype) == (image.shape, image.dtype)
    assert ((changed - image).abs().flatten(1).amax(dim=1) > 1e-3).all()
    assert changed.abs().max() <= 1


def test_operations_act_in_the_order_of_nnunet() -> None:
    image = torch.rand(2, 1, 8, 8, dtype=torch.float64) - 0.5
    torch.manual_seed(1)
    drawn = Intensity(**ALWAYS).draw_values(2, 1, 2)
    torch.manual_seed(1)
    found = Augmentation(intensity=dict(reversed(ALWAYS.items()))).image(image)
    torch.manual_seed(1)
    torch.randint(2**31, ())
    expected = image
    order = ["noise", "blur", "brightness", "contrast", "low_resolution", "inverted_gamma", "gamma"]
    for name, draw in zip(order, drawn, strict=True):
        acted = ACTIONS[name].act(expected, draw[..., 1:])
        expected = torch.where(draw[..., 0, None, None] > 0, acted, expected)
    torch.testing.assert_close(found, expected.clamp(-1, 1), rtol=0, atol=0)


def test_the_same_seed_changes_alike_and_draws_one_number_on_the_host() -> None:
    image = torch.rand(2, 3, 9, 9) - 0.5
    augment = Augmentation(intensity={name: keys for name, keys in ALWAYS.items() if name != "noise"})
    torch.manual_seed(3)
    first, after = augment.image(image), torch.get_rng_state()
    again = augment.image(image)
    torch.manual_seed(3)
    assert torch.equal(augment.image(image), first)
    torch.manual_seed(3)
    torch.randint(2**31, ())
    assert torch.equal(torch.get_rng_state(), after)
    assert not torch.equal(again, first)
    noisy = Augmentation(intensity=ALWAYS)
    torch.manual_seed(3)
    with_noise = noisy.image(image)
    torch.manual_seed(3)
    assert torch.equal(noisy.image(image), with_noise)


def test_a_recipe_without_intensities_draws_nothing_and_hands_the_image_back() -> None:
    image, state = torch.rand(2, 1, 4, 4), torch.get_rng_state()
    for none in (None, {}, {"gamma": None}):
        assert Augmentation(intensity=none).image(image) is image
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", [*ALWAYS, "all"])
@pytest.mark.parametrize(("channels", "size"), [(1, (5, 6)), (3, (5, 4)), (1, (3, 4, 3))])
def test_gradients_are_those_of_finite_differences(name: str, channels: int, size: tuple[int, ...]) -> None:
    """The hypergradient reaches the generator through `image`."""
    augment = Augmentation(intensity=ALWAYS if name == "all" else {name: ALWAYS[name] | {"channels": 1.0}})
    image = torch.rand(2, channels, *size, dtype=torch.float64) - 0.5

    def change(values: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(2)
        return augment.image(values)

    assert torch.autograd.gradcheck(change, [image.requires_grad_()], atol=1e-4, rtol=1e-3, eps=1e-7)


def test_autocast_and_half_precision_change_little() -> None:
    image = torch.rand(2, 3, 20, 20) - 0.5
    augment = Augmentation(intensity=ALWAYS)
    torch.manual_seed(1)
    expected = augment.image(image)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augment.image(image), expected)
        torch.manual_seed(1)
        halved = augment.image(image.bfloat16())
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved.float(), expected, atol=0.03, rtol=0)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(UserError) as raised:
        Augmentation(
            rotate=-1,
            intensity={
                "noise": {"probability": 1.5, "range": [0, 0.1]},
                "blur": {"probability": 0.5, "range": [1.0, 0.5], "channels": -1},
                "low_resolution": {"probability": 0.5, "range": [0.5, 2]},
            },
        )
    for expected in (
        "augment.rotate=-1",
        "augment.intensity.noise.probability=1.5: expected a share, from 0 to 1",
        "augment.intensity.blur.channels=-1: expected a share, from 0 to 1",
        "augment.intensity.blur.range=[1.0, 0.5]: expected [least, most] within 0.1 to 8",
        "augment.intensity.low_resolution.range=[0.5, 2]: expected [least, most] within 0.05 to 1",
    ):
        assert expected in str(raised.value)
