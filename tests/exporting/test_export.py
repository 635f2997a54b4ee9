"""An exported file computes what the Run's network computes, says what has to be known beside it, and is whole."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from exporting.conftest import CLASSES, MakeRun
from genseg_betty.cli import main
from genseg_betty.errors import UserError
from genseg_betty.exporting import comparison, onnx_file, requirements
from genseg_betty.exporting.graph import scale_intensities, simplify_network
from genseg_betty.exporting.onnx_file import open_onnx
from genseg_betty.exporting.recording import draw_images
from genseg_betty.exporting.run_export import export_run
from genseg_betty.exporting.source import read_source
from genseg_betty.exporting.torch_program import open_program
from genseg_betty.exporting.torchscript_file import open_script
from genseg_betty.inference import load, predict_paths
from genseg_betty.run import Run

OPEN = {"onnx": open_onnx, "torch": open_program, "torchscript": open_script}
EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_only.py"
LOGITS, CLOSE = 1e-4, 2e-4
THREE = {"classes": CLASSES, "label_values": (0, 7, 300), "channels": 3}


def compare_with_run(run: Run, path: Path, format: str, sizes: list[tuple[int, ...]]) -> None:
    """Logits within 1e-4 of the Run's network, and equal masks wherever its two best logits are further apart."""
    predictor = load(run.path, "cpu")
    found = predictor.preprocessing
    exported = OPEN[format](path)
    for batch, *size in sizes:
        images = draw_images([batch, found.channels, *size], 0, 255)
        with torch.no_grad():
            expected = predictor.network(scale_intensities(images, found.intensity))
            logits = exported(images)
        assert (logits - expected).abs().max() <= LOGITS
        is_clear = find_margins(expected) > CLOSE
        assert is_clear.float().mean() > 0.9
        assert torch.equal(choose_classes(logits)[is_clear], choose_classes(expected)[is_clear])


def rewrite(run: Run, key: str, value: Any) -> None:
    """Set a key of the Run's config.yaml, of which no checksum is kept any more."""
    config = OmegaConf.load(run.path / "config.yaml")
    OmegaConf.update(config, key, value)
    OmegaConf.save(config, run.path / "config.yaml")
    (run.path / "SHA256SUMS").unlink(missing_ok=True)


def find_margins(logits: Tensor) -> Tensor:
    """How far the two best classes of each pixel are apart."""
    if logits.shape[1] == 1:
        return logits[:, 0].abs()
    best, second = logits.topk(2, dim=1).values.unbind(1)
    return best - second


def choose_classes(logits: Tensor) -> Tensor:
    return logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(1)


def test_torchscript_is_the_network_at_any_size(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(**THREE)
    exported = export_run(run.path, "torchscript", tmp_path / "model.ts")
    assert exported.summarise_images() == "takes images [any number, 3, any, any]"
    compare_with_run(run, exported.path, "torchscript", [(1, 40, 48), (3, 40, 48), (2, 33, 70)])
    beside = json.loads((tmp_path / "model.ts.json").read_text())
    within = {"genseg_betty": ""}
    torch.jit.load(exported.path, _extra_files=within)
    assert json.loads(within["genseg_betty"]) == beside
    assert beside["classes"][2] == {"name": "lung", "value": 300}
    assert beside["device"] == "any"


def test_onnx_alone_makes_the_masks_of_predict(make_run: MakeRun, images: Path, tmp_path: Path) -> None:
    """By the command, and by the example, which is run with nothing of ours or PyTorch's to be found.

    Its resizes are Pillow's; a pixel may differ where the two best classes are within rounding.
    """
    run = make_run()
    with pytest.raises(SystemExit) as ended:
        main(["export", str(run.path), "--format", "onnx", "--out", str(tmp_path / "model.onnx")])
    assert ended.value.code == 0
    compare_with_run(run, tmp_path / "model.onnx", "onnx", [(1, 40, 48), (3, 40, 48), (2, 33, 70)])
    assert json.loads((tmp_path / "model.onnx.json").read_text())["input"]["takes_any_size"]
    compare_with_example(run, tmp_path / "model.onnx", images, tmp_path)


def compare_with_example(run: Run, model: Path, images: Path, folder: Path) -> None:
    hide = "import sys; sys.modules.update(torch=None, genseg_betty=None, monai=None); sys.argv = sys.argv[1:]; "
    words = [sys.executable, "-c", f"{hide}import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"]
    subprocess.run([*words, str(EXAMPLE), str(model), str(images), str(folder / "alone")], check=True)
    predictor = load(run.path, "cpu")
    for mask in predict_paths(run.path, [images], folder / "predicted", "cpu"):
        expected = np.asarray(Image.open(mask))
        found = np.asarray(Image.open(folder / "alone" / mask.name))
        assert expected.shape == found.shape
        assert len(np.unique(expected)) > 1
        assert (expected != found).mean() <= 0.0005, mask.name
    assert predictor.num_classes == 2 or np.max(found) > 1


@pytest.mark.parametrize("word", ["network", "shape", "broken"])
def test_a_file_that_computes_something_else_is_deleted(
    word: str, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    usual = comparison._measure_difference

    def disturb(found: Tensor, expected: Tensor) -> float:
        other = {"network": found + 0.01, "shape": found[:1, :, :3], "broken": found * torch.nan}[word]
        return usual(other, expected)

    monkeypatch.setattr(comparison, "_measure_difference", disturb)
    out = tmp_path / "out"
    out.mkdir()
    for format in ("torchscript", "monai"):
        with pytest.raises(UserError, match="computes something else"):
            export_run(run.path, format, out / "model")
    assert not list(out.iterdir())


def test_what_training_needs_is_left_out(make_run: MakeRun) -> None:
    """Activation checkpointing too; what is computed stays, at sizes that are padded or not."""
    run = make_run("unet3d")
    rewrite(run, "backbone.activation_checkpointing", True)
    source = read_source(run.path, trust=False)
    own = [type(module).__module__ for module in source.simplified.modules()]
    assert "genseg_betty.backbones.padding" not in own
    assert not [module for module in source.simplified.modules() if "forward" in vars(module)]
    assert [module for module in source.network.modules() if "forward" in vars(module)]
    for size in ((16, 17, 40), (32, 32, 64)):
        images = draw_images([1, 1, *size], -1, 1)
        with torch.no_grad():
            assert torch.equal(source.simplified(images), source.network(images))
    assert simplify_network(source.network) is not source.network


# -- wrong use ---------------------------------------------------------------------------------------------------


def test_wrong_use_is_told_in_a_sentence(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    taken = tmp_path / "taken.onnx"
    taken.write_text("mine")
    with pytest.raises(UserError, match=r"taken\.onnx: there already; name another"):
        export_run(run.path, "onnx", taken)
    with pytest.raises(UserError, match="there is no folder"):
        export_run(run.path, "onnx", tmp_path / "nowhere" / "model.onnx")
    with pytest.raises(UserError, match="--format tflite: expected one of onnx, torch, torchscript, monai"):
        export_run(run.path, "tflite", tmp_path / "model")
    monkeypatch.setattr(requirements, "find_spec", lambda name: None if name == "onnxruntime" else "there")
    with pytest.raises(UserError, match=r"needs onnxruntime, which is missing: pip install 'genseg-betty\[export\]'"):
        export_run(run.path, "onnx", tmp_path / "model.onnx")
    assert taken.read_text() == "mine"


def test_a_run_without_segmenter_or_of_nnunet_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    for checkpoint in (run.path / "checkpoints").glob("*"):
        checkpoint.unlink()
    with pytest.raises(UserError, match="no trained segmenter yet"):
        export_run(run.path, "torchscript", tmp_path / "model.ts")
    rewrite(run, "method.name", "nnunet")
    with pytest.raises(UserError, match="nnUNetv2_export_model_to_zip"):
        export_run(run.path, "torchscript", tmp_path / "model.ts")
    assert not (tmp_path / "model.ts").exists()


def test_code_of_others_needs_trust(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    rewrite(run, "backbone._target_", "collections.OrderedDict")
    with pytest.raises(UserError, match="--trust"):
        export_run(run.path, "torchscript", tmp_path / "model.ts")


def test_more_weights_than_a_file_of_onnx_holds_are_told(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="choose --format torch"):
        export_run(make_run().path, "onnx", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


# -- every network in every format -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["unet", "deeplab", "swinunet", "unet3d"])
def test_torch_onnx_and_torchscript_agree(backbone: str, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(backbone, **({} if backbone == "unet3d" else THREE))
    size = load(run.path, "cpu").preprocessing.image_size
    for format in OPEN:
        exported = export_run(run.path, format, tmp_path / f"model-{format}")
        sizes = [(1, *size), (3, *size)]
        if exported.written.sizes.takes_any_sides:
            sizes.append((2, *[side + 7 for side in size]))
        compare_with_run(run, exported.path, format, sizes)


@pytest.mark.slow
def test_the_example_reads_windows_and_percentiles(make_run: MakeRun, images: Path, tmp_path: Path) -> None:
    """A window beyond which intensities are clipped, and percentiles of each image; three classes, colours."""
    window = make_run(**{**THREE, "label_values": (0, 7, 9)}, intensity=(40.0, 180.0))
    each = make_run("unet", channels=3, intensity=None, scale=None)
    for name, run in (("window", window), ("each", each)):
        exported = export_run(run.path, "onnx", tmp_path / f"{name}.onnx")
        folder = tmp_path / name
        folder.mkdir()
        compare_with_example(run, exported.path, images, folder)
