"""A network of the user's own: a class in a file of theirs, named by `_target_`, and by `backbone.net`."""

import pytest
import torch

from backbones.unrolled import by_composition, by_double_backward, image_and_target, relative_error
from genseg_betty.backbones.monai_nets import monai
from genseg_betty.backbones.probe import check_backbone
from genseg_betty.build import build_segmenter
from genseg_betty.config import compose
from genseg_betty.errors import UserError

FILE = '''
"""A network of one's own."""

import torch
from torch import nn


class HourGlass(nn.Module):
    def __init__(self, in_channels, num_outputs, width=4):
        super().__init__()
        self.entry = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.SiLU())
        self.down = nn.Sequential(nn.Conv2d(width, 2 * width, 2, stride=2), nn.SiLU())
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.head = nn.Conv2d(2 * width, num_outputs, 1)

    def forward(self, image):
        fine = self.entry(image)
        return self.head(torch.cat([fine, self.up(self.down(fine))], dim=1))


class LooksAtValues(nn.Conv2d):
    def __init__(self, in_channels, num_outputs):
        super().__init__(in_channels, num_outputs, 1)

    def forward(self, image):
        return super().forward(image * 2 if image.max() > 1 else image)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in Python's path with the user's file, and their folder of YAML files in it."""
    (tmp_path / "own_networks_of_a_user.py").write_text(FILE)
    (tmp_path / "conf" / "backbone").mkdir(parents=True)
    (tmp_path / "conf" / "backbone" / "hourglass.yaml").write_text(
        "name: hourglass\n_target_: own_networks_of_a_user.HourGlass\nwidth: 6\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (3, 4)])
def test_own_class_by_target(folder, channels, outputs):
    config = compose(["backbone=hourglass", "backbone.width=5"], folder / "conf")
    network = build_segmenter(config, channels, outputs)
    assert network(torch.rand(2, channels, 32, 48)).shape == (2, outputs, 32, 48)
    check_backbone(network, channels, outputs, (32, 48), second_derivatives=True)
    network = network.double()
    image, target = image_and_target(channels, outputs, (8, 12))
    found = by_double_backward(network, image, target)
    assert relative_error(found, by_composition(network, image, target)) < 1e-8


def test_sizes_that_it_does_not_take_are_explained(folder):
    network = build_segmenter(compose(["backbone=hourglass"], folder / "conf"), 1, 1)
    with pytest.raises(UserError, match=r"does not fit the data: an image \[1, 33, 50\] ends in .*PadToMultiple"):
        check_backbone(network, 1, 1, (33, 50), second_derivatives=True)


def test_volumes_for_a_class_that_takes_images(folder):
    with pytest.raises(UserError, match="no argument spatial_dims"):
        build_segmenter(compose(["backbone=hourglass"], folder / "conf"), 1, 1, spatial_dims=3)


def test_networks_that_look_at_values_are_checked_with_values(folder):
    config = compose(["backbone=hourglass"], folder / "conf")
    config.backbone = {"_target_": "own_networks_of_a_user.LooksAtValues"}
    check_backbone(build_segmenter(config, 1, 2), 1, 2, (20, 20), second_derivatives=True)


def test_own_class_by_net_is_padded(folder):
    network = monai(1, 2, net="own_networks_of_a_user.HourGlass", arguments={"width": 3})
    assert network(torch.rand(2, 1, 33, 51)).shape == (2, 2, 33, 51)


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        ("no_such_module.Net", "cannot be imported.*package.module.Class"),
        ("own_networks_of_a_user.Hourglas", "cannot be imported.*Hourglas"),
        ("torch.nn.Linear", "takes the arguments in_channels and out_channels"),
    ],
)
def test_wrong_classes_are_answered(folder, net, expected):
    with pytest.raises(UserError, match=expected):
        monai(1, 1, net=net)
