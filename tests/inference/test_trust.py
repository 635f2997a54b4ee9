"""A Run from a stranger: what its config.yaml may have built, by which command, with trust and without."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from PIL import Image

import genseg_betty as gs
from genseg_betty.config import conf_dir, load_dataset_config
from genseg_betty.errors import UserError
from genseg_betty.inference import evaluate_dataset, evaluate_folders, generate, load, predict_paths
from genseg_betty.run import Run
from genseg_betty.trust import ROOMS, find_foreign_parts

MakeRun = Callable[..., Run]
MONAI = "genseg_betty.backbones.monai_nets.monai"
SMP = "genseg_betty.backbones.smp.smp"

MODULE = """
from pathlib import Path

Path("imported").touch()


def network(in_channels, num_outputs, **arguments):
    from torch import nn

    Path("built").touch()
    return nn.Conv2d(in_channels, num_outputs, 1)
"""


def rewritten(run: Run, changes: dict[str, Any]) -> Path:
    """The Run with these keys of its config.yaml set."""
    config = OmegaConf.to_container(run.config)
    for key, value in changes.items():
        *above, last = key.split(".")
        section: Any = config
        for name in above:
            section = section.setdefault(name, {})
        section[last] = value
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    return run.path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: nothing may be written there; code of a stranger that Python finds would be."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    code = tmp_path / "code"
    code.mkdir()
    (code / "networks_of_a_stranger.py").write_text(MODULE)
    monkeypatch.syspath_prepend(code)
    monkeypatch.delitem(sys.modules, "networks_of_a_stranger", raising=False)
    monkeypatch.chdir(folder)
    return folder


OPEN = {"_target_": "builtins.open", "file": "built", "mode": "w"}
STRANGE = {
    "a class of others": {"backbone._target_": "networks_of_a_stranger.network"},
    "a function of Python": {"backbone": {**OPEN, "name": "x"}},
    "nested in a value": {"backbone.base_channels": OPEN},
    "nested in a list": {"backbone.bilinear": [1, [OPEN]]},
    "in a target": {"backbone._target_": OPEN},
    "in a name": {"backbone.name": OPEN},
    "under a key of another section": {"backbone.objective": OPEN},
    "under another key of another section": {"backbone.discriminator": OPEN},
    "a number of layers without end": {"backbone.depths": [10**12]},
    "a number of fifty digits": {"backbone.base_channels": 10**50},
    "no number": {"backbone.base_channels": float("nan")},
    "a window that fills the memory": {"backbone.window": [7, 250]},
    "arguments by place": {"backbone._args_": [1]},
    "a part of a call": {"backbone._partial_": True},
    "what is built first": {"backbone._recursive_": False},
    "a name without module": {"backbone._target_": "unet"},
    "a private name": {"backbone._target_": "genseg_betty.backbones.monai_nets._find"},
    "what a room of ours imports": {"backbone._target_": "genseg_betty.backbones.monai_nets.get_class"},
    "our own code in another room": {"backbone._target_": "genseg_betty.cli.main"},
    "a generator as backbone": {"backbone._target_": "genseg_betty.generators.pix2pix.Pix2Pix"},
    "what MONAI is made of": {"backbone._target_": "monai.networks.nets.unet.Convolution"},
    "a function of MONAI": {"backbone._target_": "monai.bundle.load"},
    "a function of SMP": {"backbone._target_": "segmentation_models_pytorch.from_pretrained"},
    "MONAI's name for any class": {"backbone": {"_target_": MONAI, "net": "networks_of_a_stranger.network"}},
    "a network that is fetched for": {
        "backbone": {"_target_": MONAI, "net": "EfficientNetBN", "arguments": {"model_name": "efficientnet-b0"}}
    },
    "another network that is fetched for": {"backbone": {"_target_": MONAI, "net": "Transchex", "arguments": {}}},
    "weights made elsewhere": {"backbone": {"_target_": MONAI, "net": "UNet", "arguments": {"checkpoint": "x.pth"}}},
    "a part's weights": {"backbone": {"_target_": MONAI, "net": "UNet", "arguments": {"weights_backbone": "DEFAULT"}}},
    "an address": {
        "backbone": {"_target_": MONAI, "net": "HoVerNet", "arguments": {"pretrained_url": "https://example.org/x"}}
    },
    "timm's hub": {"backbone": {"_target_": SMP, "encoder": "tu-hf_hub:stranger/model"}},
    "timm's folders": {"backbone": {"_target_": SMP, "encoder": "tu-local-dir:models"}},
    "a file": {"backbone": {"_target_": SMP, "encoder": "tu-resnet18", "arguments": {"checkpoint_path": "x.pth"}}},
    "a description of a file": {
        "backbone": {"_target_": SMP, "encoder": "tu-resnet18", "arguments": {"pretrained_cfg": {"source": "x"}}}
    },
}  # fmt: skip


@pytest.mark.parametrize("changes", STRANGE.values(), ids=STRANGE)
def test_what_no_run_may_have_built(changes: dict[str, Any], run: Run, elsewhere: Path) -> None:
    path = rewritten(run, changes)
    with pytest.raises(UserError) as refusal:
        gs.load(path)
    key = next(iter(changes))
    for told in (f"\n  - {key.rsplit('.', 1)[0] if '.' in key else 'backbone'}.", "--trust", "trust=True"):
        assert told in str(refusal.value)
    assert not list(elsewhere.iterdir())


GENERATOR_STRANGE = {
    "generator": {"generator._target_": "networks_of_a_stranger.network"},
    "nested": {"generator.base_channels": OPEN},
    "name": {"generator.name": OPEN},
    "objective": {"generator.objective": OPEN},
    "objective of an objective": {"generator.objective.objective": OPEN},
    "discriminator of an objective": {"generator.objective.discriminator": OPEN},
    "name of an objective": {"generator.objective.name": OPEN},
    "objective of an augmentation": {"augment.objective": OPEN},
    "name of an augmentation": {"augment.name": OPEN},
    "augment": {"augment.rotate": OPEN},
    "augment of others": {"augment._target_": "networks_of_a_stranger.network"},
}


@pytest.mark.parametrize("changes", GENERATOR_STRANGE.values(), ids=GENERATOR_STRANGE)
def test_what_no_run_may_have_built_to_generate(changes: dict[str, Any], run: Run, elsewhere: Path) -> None:
    path = rewritten(run, changes)
    with pytest.raises(UserError, match=next(iter(changes)).partition(".")[0] + r"[\s\S]*--trust"):
        generate(path, 1, elsewhere / "out")
    assert not list(elsewhere.iterdir())


def commands(data_root: Path, elsewhere: Path) -> dict[str, Callable[[Path, bool], Any]]:
    image, out = data_root / "images" / "case_2.png", elsewhere.parent / "out"
    dataset = load_dataset_config("folder", root=data_root)
    masks = data_root / "masks"
    return {
        "load": lambda run, trust: gs.load(run, trust=trust),
        "predict": lambda run, trust: predict_paths(run, [image], out, trust=trust),
        "evaluate": lambda run, trust: evaluate_dataset(run, dataset, trust=trust),
        "evaluate folders": lambda run, trust: evaluate_folders(run, data_root / "images", masks, trust=trust),
    }


@pytest.mark.parametrize("command", ["load", "predict", "evaluate", "evaluate folders"])
def test_a_class_of_others_needs_trust(command: str, make_run: MakeRun, data_root: Path, elsewhere: Path) -> None:
    run = make_run()
    do = commands(data_root, elsewhere)[command]
    state = run.load_checkpoint("predictor")
    assert state is not None
    with Run.start(run.path.parent / "other", run.config) as other:
        state["weights"] = {"network.weight": torch.ones(1, 1, 1, 1), "network.bias": torch.zeros(1)}
        other.save_checkpoint("predictor", state)
        other.write_json("splits.json", run.read_json("splits.json"))
    path = rewritten(other, {"backbone": {"_target_": "networks_of_a_stranger.network"}})
    with pytest.raises(UserError, match=r"networks_of_a_stranger\.network \(a class of others\)[\s\S]*--trust"):
        do(path, False)
    assert not list(elsewhere.iterdir())
    do(path, True)
    assert {file.name for file in elsewhere.iterdir()} == {"imported", "built"}


# All that conf/ has named in any version; one that moves must still be found where it was, in Runs of that time.
OF_ALL_VERSIONS = {
    "backbone": (
        "smp.unet", "smp.deeplab", "smp.smp", "monai_nets.monai", "swinunet.swinunet", "unet3d.unet3d",
        "unet_classic.unet_classic",
    ),
    "generator": (
        "asapnet.ASAPNet", "bbdm.BBDM", "pix2pix.Pix2Pix", "soft_intro_vae.SoftIntroVAE", "spade.SPADE", "wgan_gp.WGAN",
    ),
    "generator.objective": (
        "objectives.ConditionalGAN", "objectives.HingeGAN", "bbdm.BrownianBridge", "soft_intro_vae.Introspection",
        "wgan_gp.WassersteinGAN",
    ),
    "augment": ("Augmentation",),
}  # fmt: skip


def targets_of_conf(group: str, inner: str = "") -> set[str]:
    sections = [OmegaConf.load(file) for file in (conf_dir() / group).glob("*.yaml")]
    return {OmegaConf.select(section, f"{inner}_target_") for section in sections}


def test_each_of_our_own_constructors_is_known() -> None:
    for part, names in OF_ALL_VERSIONS.items():
        group, _, inner = part.partition(".")
        targets = {f"{ROOMS[group]}.{name}" for name in names}
        assert targets_of_conf(group, f"{inner}." if inner else "") <= targets
        for target in targets:
            config = OmegaConf.create()
            OmegaConf.update(config, part, {"_target_": target, "rate": 0.1, "sizes": [1, 2]}, force_add=True)
            assert list(find_foreign_parts(config, part)) == []


KNOWN = {
    "MONAI by name": {"_target_": MONAI, "net": "UNet", "arguments": {"channels": [4, 8], "strides": [2]}},
    "MONAI by path": {
        "_target_": MONAI, "net": "monai.networks.nets.UNet",
        "arguments": {"channels": [4, 8], "strides": [2], "norm": "batch", "act": "relu"},
    },
    "SMP": {"_target_": SMP, "arch": "Unet", "encoder": "tu-test_resnet", "base_channels": 2},
    "our own, with a rate by path": {
        "_target_": "genseg_betty.backbones.swinunet.swinunet", "base_channels": 8, "depths": [1, 1],
        "decoder_depths": [1], "drop_path": 0.1,
    },
}  # fmt: skip


@pytest.mark.parametrize("backbone", KNOWN.values(), ids=KNOWN)
def test_networks_of_libraries_need_no_trust(backbone: dict[str, Any], config: DictConfig, make_run: MakeRun) -> None:
    config.backbone = {"name": "x", **backbone}
    run = make_run()
    mask = load(run.path)(np.zeros((40, 48), np.uint8))
    assert mask.shape == (40, 48)


def test_classes_of_libraries_by_their_own_path_are_built(run: Run) -> None:
    """Where they take other arguments than ours, their constructor says so, and no trust is asked for."""
    path = rewritten(run, {"backbone": {"_target_": "segmentation_models_pytorch.Unet", "encoder_name": "resnet18"}})
    with pytest.raises(UserError, match="Missing key"):
        load(path)
    path = rewritten(run, {"backbone": {"_target_": "monai.networks.nets.unet.UNet", "channels": [4, 8]}})
    with pytest.raises(UserError, match=r"monai\.networks\.nets\.unet\.UNet cannot be built as it is configured"):
        load(path)


def test_weights_made_elsewhere_are_not_asked_for(config: DictConfig, make_run: MakeRun) -> None:
    config.backbone = {"_target_": MONAI, "net": "FlexibleUNet", "arguments": {"backbone": "efficientnet-b0"}}
    run = make_run()
    path = rewritten(run, {"backbone.arguments.pretrained": True})
    load(path)  # would fetch, and fail, as a test has no network to rely on


@pytest.mark.parametrize("holes", [False, True])
def test_a_network_larger_than_its_weights_is_not_filled(
    holes: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one larger than memory, where a file that is all hole claims to hold as many."""
    path = rewritten(run, {"backbone.base_channels": 4000})
    if holes:
        monkeypatch.setattr("genseg_betty.trust.free_memory", lambda _: 2.0**28)
        with (path / "checkpoints" / "hole.pt").open("wb") as file:
            file.truncate(2**42)
    with pytest.raises(UserError, match=r"far more than the Run's checkpoints or the memory hold"):
        load(path)


def test_layers_without_end_are_not_built(config: DictConfig, make_run: MakeRun) -> None:
    small = {"channels": [1] * 2, "strides": [1], "num_res_units": 10}
    config.backbone = {"name": "x", "_target_": MONAI, "net": "UNet", "arguments": small}
    path = rewritten(make_run(), {"backbone.arguments.num_res_units": 10**6})
    with pytest.raises(UserError, match=r"has over 20,000 layers"):
        load(path)


SHADOWED = ("monai", "segmentation_models_pytorch", "timm", "nibabel", "rich", "hydra_plugins")
SHADOW = "from pathlib import Path\nPath({mark!r}).touch()\nraise SystemExit('code of a stranger')\n"


@pytest.fixture
def packed(config: DictConfig, make_run: MakeRun, tmp_path: Path) -> Path:
    """A folder as strangers pack it: a Run with a network of MONAI, and beside it what Python takes for packages."""
    config.backbone = {"_target_": MONAI, "net": "UNet", "arguments": {"channels": [4, 8], "strides": [2]}}
    folder = tmp_path / "packed"
    make_run("packed/run")
    for name in SHADOWED:
        (folder / name).mkdir()
        file = "__init__.py" if name != "hydra_plugins" else "plugin_of_a_stranger.py"
        (folder / name / file).write_text(SHADOW.format(mark=str(tmp_path / "mark")))
    return folder


def python(*words: object, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("place", ["the current folder", pytest.param("PYTHONPATH", marks=pytest.mark.slow)])
def test_packages_come_from_where_they_are_installed(place: str, packed: Path, data_root: Path, tmp_path: Path) -> None:
    where = {"cwd": packed} if place == "the current folder" else {"cwd": tmp_path, "path": str(packed)}
    image, out = data_root / "images" / "case_2.png", tmp_path / "masks"
    words = ["-m", "genseg_betty", "predict", packed / "run", image, "--out", out, "--device", "cpu"]
    ran = python(*words, **where)  # type: ignore[arg-type]
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / "mark").exists()
    assert np.asarray(Image.open(out / "case_2.png")).shape == (40, 48)


def test_evaluating_composes_no_plugin_of_the_current_folder(packed: Path, data_root: Path, tmp_path: Path) -> None:
    words = ["-m", "genseg_betty", "evaluate", "run", "--dataset", "folder", f"root={data_root}", "--device", "cpu"]
    ran = python(*words, cwd=packed)
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / "mark").exists()


@pytest.mark.slow
def test_a_notebook_finds_installed_packages(packed: Path, tmp_path: Path) -> None:
    load_it = "import genseg_betty as gs; gs.load('run', 'cpu')"
    ran = python("-c", load_it, cwd=packed)
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / "mark").exists()
    (packed / "monai" / "__init__.py").write_text("")
    ran = python("-c", f"import monai; {load_it}", cwd=packed)
    assert "is not the installed package" in ran.stderr
