"""Swin-Unet: its size, what its settings must satisfy, pretrained and frozen encoders."""

import pytest
import timm
import torch

from backbones.unrolled import by_composition, by_double_backward, image_and_target, relative_error
from genseg_betty.backbones.swinunet import PatchExpand, swinunet
from genseg_betty.errors import UserError

WEIGHTS = "swin_tiny_patch4_window7_224"


@pytest.fixture
def offered(monkeypatch):
    """timm's models without their weights; what was asked for."""
    asked, build = [], timm.create_model

    def create_model(name, pretrained, **options):
        asked.append((name, pretrained))
        return build(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create_model)
    return asked


def test_parameter_count_of_the_paper():
    assert round(sum(parameter.numel() for parameter in swinunet(3, 1).parameters()) / 1e6, 1) == 27.2


def test_patch_expanding_keeps_neighbours_together():
    expand = PatchExpand(2, 1, 2)
    expand.norm = torch.nn.Identity()
    expand.linear.weight = torch.nn.Parameter(torch.tensor([[1.0, 0], [2, 0], [3, 0], [4, 0]]))
    found = expand(torch.tensor([[1.0, 0], [10, 0]]).reshape(1, 1, 2, 2))
    assert found.shape == (1, 2, 4, 1)
    assert found[0, :, :, 0].tolist() == [[1, 2, 10, 20], [3, 4, 30, 40]]


def test_logits_use_the_finest_skip():
    network = swinunet(1, 1, base_channels=8).eval()
    image = torch.zeros(1, 1, 64, 64)
    moved = image.clone()
    moved[..., 20, 20] = 1
    change = (network(moved) - network(image)).abs()[0, 0]
    assert change[18:24, 18:24].mean() > 2 * change.mean()


@pytest.mark.parametrize(
    "options",
    [{"window": 7}, {"window": 3, "depths": [1, 2], "decoder_depths": [3]}, {"heads": [1, 2, 4, 8]}],
)
def test_other_settings_have_second_derivatives(options):
    network = swinunet(1, 1, base_channels=8, **options).double()
    image, target = image_and_target(1, 1, (33, 50))
    found = by_double_backward(network, image, target)
    assert relative_error(found, by_composition(network, image, target)) < 1e-8


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"decoder_depths": [2, 2]}, r"decoder_depths=\[2, 2\]: expected 3 numbers"),
        ({"heads": [3, 6]}, r"heads=\[3, 6\]: expected 4 numbers"),
        ({"heads": [5, 6, 12, 24]}, "5 heads cannot share 96 channels"),
        ({"depths": []}, r"depths=\[\]: expected a number for each stage"),
        ({"depths": [2, 0], "window": 0}, r"(?s)depths=\[2, 0\].*at least 1.*window=0: expected at least 1"),
        ({"heads": [0, 6, 12, 24]}, r"heads=\[0, 6, 12, 24\]: .*at least 1"),
        ({"drop_path": 2.0}, "drop_path=2.0: expected a rate"),
        ({"encoder_weights": "swin_tny"}, "Nearest: swin_tiny"),
        ({"encoder_weights": "resnet18"}, "no such Swin"),
    ],
)
def test_what_does_not_fit_is_explained(options, expected):
    with pytest.raises(UserError, match=expected):
        swinunet(1, 1, **options)


def test_pretrained_weights_arrive_at_another_window_and_fewer_blocks(offered, monkeypatch):
    build = timm.create_model

    def marked(*args, **options):
        model = build(*args, **options)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.5)
        return model

    monkeypatch.setattr(timm, "create_model", marked)
    pretrained = swinunet(1, 1, encoder_weights=WEIGHTS, frozen_encoder=True)
    network = pretrained.network
    # The mean over the colours of (u + 1) / 2 -> (x - mean) / std, at u = 0 and 1.
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    found = pretrained.encoder_input(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)).flatten()
    torch.testing.assert_close(found, torch.stack([((0.5 - mean) / std).mean(), ((1 - mean) / std).mean()]))
    assert offered == [(WEIGHTS, True)]
    assert all((parameter == 0.5).all() for parameter in network.encoder.parameters())
    assert not any(parameter.requires_grad for parameter in network.encoder.parameters())
    assert all(parameter.requires_grad for parameter in network.decoder.parameters())


@pytest.mark.parametrize("options", [{"base_channels": 48}, {"depths": [2, 2, 8, 2]}])
def test_pretrained_weights_of_another_shape_are_refused(offered, options):
    with pytest.raises(UserError, match=r"does not fit: of .* tensors.*base_channels=96"):
        swinunet(1, 1, encoder_weights=WEIGHTS, **options)


def test_failed_download_says_what_to_do(monkeypatch):
    def offline(*args, **options):
        raise ConnectionError("no route")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"no route.*encoder_weights=null.*encoder_weights=lite0"):
        swinunet(1, 1, encoder_weights=WEIGHTS)
