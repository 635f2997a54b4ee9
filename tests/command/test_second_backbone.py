"""The second network of a method with two: chosen by the first, with the sizes of the trainer, of another structure."""

import pytest

from genseg_betty.config import compose
from genseg_betty.errors import ConfigError


@pytest.mark.parametrize(
    ("first", "second"),
    [("unet", "swinunet"), ("deeplab", "swinunet"), ("swinunet", "unet"), ("unet3d", "monai"), ("monai", "unet3d")],
)
def test_the_first_network_chooses_its_partner(first: str, second: str) -> None:
    config = compose(["method=cross_teaching", f"backbone={first}"])
    assert (config.backbone.name, config.second_backbone.name) == (first, second)
    alone = compose([f"backbone={second}"])
    assert config.second_backbone == alone.backbone  # its file as it is


def test_it_has_the_sizes_of_the_trainer_and_keys_of_its_own() -> None:
    quick = ["method=dct", "trainer=quick", "image_size=48", "method.second_backbone=monai"]
    config = compose(quick)
    assert config.second_backbone.image_size == 48
    config = compose(["method=dct", "trainer=quick"])
    assert config.second_backbone.base_channels == config.backbone.base_channels == 16
    assert config.reduced["second_backbone.base_channels"] == 96
    config = compose(["method=dct", "trainer=quick", "second_backbone.base_channels=8"])
    assert (config.second_backbone.base_channels, config.backbone.base_channels) == (8, 16)


def test_each_choice_is_a_run_of_its_own() -> None:
    choices = [[], ["method.second_backbone=deeplab"], ["second_backbone.base_channels=8"], ["unlabelled=5"]]
    paths = {compose(["method=cross_teaching", *more]).run_dir for more in choices}
    assert len(paths) == len(choices)


def test_methods_of_one_network_have_none() -> None:
    assert compose(["method=combine"]).second_backbone is None
    with pytest.raises(ConfigError, match=r"second_backbone\.base_channels: method=combine trains one network"):
        compose(["method=combine", "second_backbone.base_channels=8"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method.second_backbone=unet"], "method.second_backbone=unet: the first network is unet too; .* swinunet"),
        (["method.second_backbone=swinnet"], "method.second_backbone=swinnet: no such .* did you mean swinunet"),
        (["second_backbone.base_chanels=8"], "second_backbone.base_chanels.* did you mean .*base_channels"),
        (["method.consistency_weight=-1"], "method.consistency_weight=-1: expected a number .*0"),
        (["unlabelled=-1"], "unlabelled=-1: expected"),
    ],
)
def test_what_cannot_be_is_told_at_once(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(["method=cross_teaching", *overrides])
