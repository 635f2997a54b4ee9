"""A bundle of MONAI: MONAI's own command line runs it, and it needs nothing of ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from exporting.conftest import MakeRun
from genseg_betty.errors import UserError
from genseg_betty.exporting.monai_bundle import check_metadata
from genseg_betty.exporting.recording import draw_images
from genseg_betty.exporting.run_export import export_run
from genseg_betty.inference import load, predict_paths

HIDE = "import sys, runpy; sys.modules['genseg_betty'] = None; sys.argv = sys.argv[1:]; "


def run_monai(bundle: Path, *words: str) -> str:
    """`python -m monai.bundle` in the bundle's folder, with this package out of reach; returns what it says."""
    command = f"{HIDE}runpy.run_module('monai.bundle', run_name='__main__', alter_sys=True)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    done = subprocess.run(
        [sys.executable, "-c", command, "monai.bundle", *words],
        cwd=bundle,
        env=environment,
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def verify_bundle(bundle: Path) -> None:
    configs = ["--meta_file", "configs/metadata.json", "--config_file", "configs/inference.json"]
    said = run_monai(bundle, "verify_net_in_out", "network_def", *configs, "--device", "cpu")
    assert "data shape of network is verified with no error" in said


def predict_by_monai(bundle: Path, images: Path, masks: Path) -> None:
    folders = ["--dataset_dir", str(images), "--output_dir", str(masks)]
    run_monai(bundle, "run", "--config_file", "configs/inference.json", *folders)


def test_metadata_and_weights_of_a_bundle(make_run: MakeRun, tmp_path: Path) -> None:
    """Metadata that lacks something is refused; model.pt is plain weights, which network.json's network takes."""
    from monai.bundle import ConfigParser

    run = make_run()
    bundle = export_run(run.path, "monai", tmp_path / "bundle").path
    assert not list(tmp_path.glob(".*"))
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    check_metadata(metadata)
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == ["*", "*"]
    metadata["network_data_format"]["outputs"]["pred"]["num_channels"] = 0
    with pytest.raises(UserError, match="network_data_format/outputs/pred/num_channels"):
        check_metadata(metadata)

    parser = ConfigParser(json.loads((bundle / "configs" / "network.json").read_text()))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    images = draw_images([2, 1, 40, 48], -1, 1)
    with torch.no_grad():
        assert torch.equal(network(images), load(run.path, "cpu").network(images))


@pytest.mark.slow
def test_monai_runs_a_bundle_of_images(make_run: MakeRun, images: Path, tmp_path: Path) -> None:
    run = make_run("unet", channels=3)
    bundle = export_run(run.path, "monai", tmp_path / "bundle").path
    verify_bundle(bundle)
    predict_by_monai(bundle, images, tmp_path / "masks")
    for mask in predict_paths(run.path, [images], tmp_path / "predicted", "cpu"):
        expected = np.asarray(Image.open(mask))
        found = np.asarray(Image.open(tmp_path / "masks" / mask.name))
        assert set(np.unique(expected)) == {0, 255}
        assert expected.shape == found.shape
        assert (expected != found).mean() <= 0.0005, mask.name


@pytest.mark.slow
def test_monai_runs_a_bundle_of_volumes(make_run: MakeRun, tmp_path: Path) -> None:
    """Stored in another orientation than the training data, larger than the network's input; CT's units."""
    run = make_run("unet3d", intensity=(-200.0, 250.0), scale=None, spacing=(2.0, 1.0, 1.5), orientation="LPS")
    bundle = export_run(run.path, "monai", tmp_path / "bundle").path
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    random = np.random.default_rng(0)
    values = random.integers(-300, 300, (44, 41, 60)).astype(np.int16)
    affine = np.array([[1.5, 0, 0, 10], [0, 0, 1.0, -5], [0, 2.0, 0, 3], [0, 0, 0, 1]])  # RSA
    nibabel.save(nibabel.Nifti1Image(values, affine), volumes / "scan.nii.gz")
    verify_bundle(bundle)
    predict_by_monai(bundle, volumes, tmp_path / "masks")
    (mask,) = predict_paths(run.path, [volumes], tmp_path / "predicted", "cpu")
    expected = nibabel.load(mask)
    found = nibabel.load(tmp_path / "masks" / "scan.nii.gz")
    assert np.allclose(expected.affine, found.affine)
    assert set(np.unique(expected.get_fdata())) == {0, 255}
    assert (expected.get_fdata() != found.get_fdata()).mean() <= 0.0005
