"""Weights of a pretrained encoder in a config: which encoder they bring, and what they do not go with."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from genseg_betty.config import compose
from genseg_betty.config.encoder_weights import INSTALLED
from genseg_betty.errors import ConfigError

USUAL = {"unet": "resnet34", "smp": "resnet34", "deeplab": "resnet50"}


def problem_of(*lines: str, folder: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(lines, folder)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("backbone", USUAL)
def test_the_weights_bring_their_encoder(backbone: str) -> None:
    chosen = f"backbone={backbone}"
    assert compose([chosen]).backbone.encoder == USUAL[backbone]
    assert compose([chosen, "backbone.encoder_weights=imagenet"]).backbone.encoder == USUAL[backbone]
    assert compose([chosen, "backbone.encoder_weights=lite0"]).backbone.encoder == "tu-tf_efficientnet_lite0"
    assert compose([chosen, "backbone.encoder_weights=lite2"]).backbone.encoder == "tu-tf_efficientnet_lite2"


def test_an_encoder_that_is_named_stays() -> None:
    own = ["backbone=unet", "backbone.encoder=tu-tf_efficientnet_lite0"]
    control = compose(own)
    assert (control.backbone.encoder, control.backbone.encoder_weights) == ("tu-tf_efficientnet_lite0", None)
    assert compose([*own, "backbone.encoder_weights=lite0"]).backbone.encoder == "tu-tf_efficientnet_lite0"
    assert compose(["backbone.encoder=resnet18", "backbone.encoder_weights=imagenet"]).backbone.encoder == "resnet18"


@pytest.mark.parametrize("encoder", ["resnet50", "tu-tf_efficientnet_lite2", "timm-tf_efficientnet_lite0"])
def test_another_encoder_is_a_contradiction(encoder: str) -> None:
    found = problem_of("backbone=deeplab", f"backbone.encoder={encoder}", "backbone.encoder_weights=lite0")
    assert found.startswith(f"backbone.encoder={encoder}: backbone.encoder_weights=lite0 are the weights of tu-tf_effi")
    assert "leave backbone.encoder out" in found


@pytest.mark.parametrize("backbone", ["unet_classic", "swinunet", "monai", "unet3d"])
def test_other_backbones_say_which_take_them(backbone: str) -> None:
    found = problem_of(f"backbone={backbone}", "backbone.encoder_weights=lite0")
    assert found.startswith("backbone.encoder_weights=lite0: ")
    assert "backbone=unet, deeplab and smp take lite0" in found


def test_a_value_of_another_kind_is_told_once() -> None:
    assert problem_of("backbone.encoder_weights=[lite0]").startswith("backbone.encoder_weights=[lite0]: expected text")


def test_a_file_of_the_user_may_leave_the_encoder_to_the_weights(tmp_path: Path) -> None:
    (tmp_path / "backbone").mkdir()
    mine = {"_target_": "genseg_betty.backbones.smp.unet", "encoder_weights": "lite0"}
    OmegaConf.save(OmegaConf.create(mine), tmp_path / "backbone" / "mine.yaml")
    assert compose(["backbone=mine"], tmp_path).backbone.encoder_weights == "lite0"
    found = problem_of("backbone=mine", "+backbone.encoder=resnet34", folder=tmp_path)
    assert "tu-tf_efficientnet_lite0" in found


def test_the_packages_are_dependencies() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = project.partition("dependencies = [")[2].partition("\n]\n")[0]
    assert all(f'"{installed.package}' in dependencies for installed in INSTALLED.values())


@pytest.mark.parametrize("backbone", ["unet", "deeplab"])
def test_a_folder_of_ones_own_starts_from_installed_weights(backbone: str) -> None:
    """Whatever the trainer, but for the paper's; other datasets as their publishers' papers do, from scratch."""
    chosen = [f"backbone={backbone}", "dataset=folder"]
    assert compose(chosen).backbone.encoder_weights == "lite0"
    assert compose([*chosen, "trainer=paper"]).backbone.encoder_weights is None
    assert compose([*chosen, "backbone.encoder_weights=null"]).backbone.encoder == USUAL[backbone]
    assert compose([*chosen, "backbone.encoder=resnet18"]).backbone.encoder_weights is None
    assert compose([*chosen, "dataset.encoder_weights=lite2"]).backbone.encoder == INSTALLED["lite2"].encoder
    assert compose([f"backbone={backbone}", "dataset=fuseg"]).backbone.encoder_weights is None


@pytest.mark.parametrize("backbone", ["unet", "deeplab"])
def test_the_quick_preset_starts_from_installed_weights(backbone: str) -> None:
    quick = ["trainer=quick", f"backbone={backbone}"]
    section = compose(quick).backbone
    assert (section.encoder, section.encoder_weights) == (INSTALLED["lite0"].encoder, "lite0")
    section = compose([*quick, "backbone.encoder_weights=null"]).backbone
    assert (section.encoder, section.encoder_weights) == (USUAL[backbone], None)


def test_another_encoder_has_no_weights_of_the_quick_preset(tmp_path: Path) -> None:
    """Whether a line of the user chooses it or a file."""
    section = compose(["trainer=quick", "backbone.encoder=resnet18"]).backbone
    assert (section.encoder, section.encoder_weights) == ("resnet18", None)
    (tmp_path / "experiment").mkdir()
    lines = "# @package _global_\nbackbone: {encoder: resnet18}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(lines)
    section = compose(["trainer=quick", "experiment=mine"], tmp_path).backbone
    assert (section.encoder, section.encoder_weights) == ("resnet18", None)
    assert compose(["trainer=quick", "experiment=mine", "backbone.encoder_weights=imagenet"], tmp_path).backbone == {
        **section, "encoder_weights": "imagenet"
    }  # fmt: skip
