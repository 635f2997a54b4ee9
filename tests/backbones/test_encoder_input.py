"""Images reach a pretrained encoder as its weights were trained on; a checkpoint says whether they do."""

import copy
import json
from collections import OrderedDict
from pathlib import Path

import pytest
import segmentation_models_pytorch as library
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from genseg_betty.backbones.encoder_input import EncoderInput
from genseg_betty.backbones.smp import smp, unet
from genseg_betty.multilevel.average import Average

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def by_channel(values: list[float]) -> Tensor:
    return torch.tensor(values).reshape(1, 3, 1, 1)


def usual_network() -> nn.Module:
    return smp(3, 1, encoder="tu-test_resnet", base_channels=4)


def mapped_network() -> nn.Module:
    network = usual_network()
    network.encoder_input.expect(3, MEAN, STD)
    return network.eval()


def test_colours_become_what_torchvision_and_timm_normalise_to() -> None:
    files = torch.randint(0, 256, (2, 3, 8, 8)).float()
    mapping = EncoderInput()
    mapping.expect(3, MEAN, STD)
    found = mapping(files / 127.5 - 1)
    torch.testing.assert_close(found, (files / 255 - by_channel(MEAN)) / by_channel(STD), rtol=0, atol=1e-5)


def test_weights_of_values_up_to_255_get_these() -> None:
    files = torch.tensor([0.0, 127, 255]).reshape(1, 1, 1, 3)
    mapping = EncoderInput()
    mapping.expect(1, [127.0], [128.0], 255.0)
    torch.testing.assert_close(mapping(files / 127.5 - 1).flatten(), torch.tensor([-127 / 128, 0, 1]))


def test_gray_images_get_the_mean_over_the_colours() -> None:
    mapping = EncoderInput()
    mapping.expect(1, MEAN, STD)
    gray = torch.rand(1, 1, 4, 4) * 2 - 1
    each = ((gray + 1) / 2 - by_channel(MEAN)) / by_channel(STD)
    torch.testing.assert_close(mapping(gray), each.mean(dim=1, keepdim=True))


def test_networks_from_scratch_have_no_mapping() -> None:
    network = usual_network()
    image = torch.rand(1, 3, 8, 8)
    assert network.encoder_input(image) is image
    assert not any(key.startswith("encoder_input") for key in network.state_dict())


def test_a_state_dict_brings_the_mapping_or_takes_it_away() -> None:
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    mapped, usual = mapped_network(), usual_network().eval()
    expected = mapped(image)
    without = OrderedDict((key, value) for key, value in mapped.state_dict().items() if "encoder_input" not in key)
    assert len(without) == len(mapped.state_dict()) - 2

    usual.load_state_dict(mapped.state_dict())
    torch.testing.assert_close(usual(image), expected, rtol=0, atol=0)
    mapped.load_state_dict(without)  # of a Run before there was a mapping
    assert mapped.encoder_input(image) is image
    assert not torch.allclose(mapped(image), expected)


def test_the_mapping_is_applied_before_the_network() -> None:
    image = torch.rand(2, 3, 33, 40) * 2 - 1
    mapped, usual = mapped_network(), usual_network().eval()
    usual.network.load_state_dict(mapped.network.state_dict())
    expected = usual(((image + 1) / 2 - by_channel(MEAN)) / by_channel(STD))
    torch.testing.assert_close(mapped(image), expected, rtol=1e-4, atol=1e-5)


def test_an_average_of_weights_keeps_the_mapping_to_the_bit() -> None:
    network = mapped_network()
    average = Average(network, decay=0.9)
    for _ in range(5):
        average.follow(network, torch.tensor(True))
    before = mapped_network().encoder_input.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in average.module.encoder_input.state_dict().items())
    restored = Average(usual_network(), decay=0.9)
    restored.load_state_dict(average.state_dict())
    assert restored.module.encoder_input.state_dict().keys() == before.keys()


def test_downloaded_weights_bring_their_own_mean_and_range(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    published = {"mean": [10.0, 20.0, 30.0], "std": [2.0, 4.0, 5.0], "input_range": [0, 255]}
    weights = copy.deepcopy(library.encoders.get_encoder("mobilenet_v2", weights=None).state_dict())
    (tmp_path / "config.json").write_text(json.dumps(published))
    save_file(weights, tmp_path / "model.safetensors")
    monkeypatch.setattr(library.encoders, "hf_hub_download", lambda repo_id, filename, revision: tmp_path / filename)
    network = unet(3, 1, encoder="mobilenet_v2", encoder_weights="imagenet", base_channels=4)
    files = torch.randint(0, 256, (1, 3, 4, 4)).float()
    expected = (files - by_channel(published["mean"])) / by_channel(published["std"])
    torch.testing.assert_close(network.encoder_input(files / 127.5 - 1), expected, rtol=1e-5, atol=1e-4)
    found = network.network.encoder.state_dict()
    assert all(torch.equal(found[key], value) for key, value in weights.items())


def test_encoders_of_timm_bring_their_own_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    build = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **options: build(name, **{**options, "pretrained": False}))
    network = unet(3, 1, encoder="tu-test_resnet", encoder_weights="imagenet", base_channels=4)
    published = timm.get_pretrained_cfg("test_resnet")
    image = torch.rand(1, 3, 4, 4) * 2 - 1
    expected = ((image + 1) / 2 - by_channel(published.mean)) / by_channel(published.std)
    torch.testing.assert_close(network.encoder_input(image), expected, rtol=1e-5, atol=1e-5)
