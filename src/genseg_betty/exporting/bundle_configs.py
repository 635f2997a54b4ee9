"""The texts of a bundle: metadata.json, inference.json and the README, in the words of MONAI's specification."""

from typing import Any

import monai
import numpy
import torch
from omegaconf import OmegaConf

from genseg_betty import __version__
from genseg_betty.data.intensities import LUMA, PERCENTILES
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.exporting.description import describe_windows
from genseg_betty.exporting.graph import find_range
from genseg_betty.exporting.recording import Sizes
from genseg_betty.exporting.source import Exportable

SCHEMA_OF_MONAI = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
VERSION = "0.1.0"
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
VOLUMES = (".nii", ".nii.gz")
LARGEST_BYTE = 255
Transform = dict[str, Any]
EVALUATION = {
    "dataset": {"_target_": "Dataset", "data": "$[{'image': f} for f in @files]", "transform": "@preprocessing"},
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
        "amp": False,
    },
    "run": ["$@evaluator.run()"],
}
"""The part of inference.json that is the same for each bundle."""


def make_metadata(source: Exportable, sizes: Sizes) -> dict[str, Any]:
    """What metadata.json says; `sizes` are those of the images that the network takes, x first."""
    found = source.preprocessing
    dataset = OmegaConf.select(source.config, "dataset.name", default="its data")
    names = ", ".join(found.classes[1:])
    # Of volumes, which are gone over in windows, the windows' size is told, whatever else the network takes.
    is_volume = found.spatial_dims == 3
    shape = [*found.image_size[::-1]] if is_volume else ["*" if side is None else side for side in sizes.sides]
    return {
        "schema": SCHEMA_OF_MONAI,
        "version": VERSION,
        "changelog": {VERSION: f"exported by genseg-betty {__version__}"},
        "monai_version": monai.__version__,
        "pytorch_version": str(torch.__version__),
        "numpy_version": numpy.__version__,
        "required_packages_version": _list_packages(found),
        "optional_packages_version": {"genseg-betty": __version__},
        "name": f"segmentation of {dataset}",
        "task": f"segmentation of {names}",
        "description": f"A segmenter trained on {dataset} by genseg-betty. Not a medical device.",
        "authors": "whoever trained it",
        "copyright": "that of whoever trained it",
        "network_data_format": {
            "inputs": {"image": _describe_input(found, shape)},
            "outputs": {"pred": _describe_output(source, shape)},
        },
    }


def make_inference(source: Exportable, runs_anywhere: bool) -> dict[str, Any]:
    """What inference.json says: a folder of images in, a folder of masks out.

    `runs_anywhere`: the network runs where there is a GPU; otherwise on the CPU alone.
    """
    found = source.preprocessing
    choice = "'cuda:0' if torch.cuda.is_available() else 'cpu'" if runs_anywhere else "'cpu'"
    endings = IMAGES if found.spatial_dims == 2 else VOLUMES
    return {
        "imports": ["$import glob", "$import numpy as np", "$import torch", "$from PIL import ImageOps"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/masks'",
        "device": f"$torch.device({choice})",
        "files": f"$[f for f in sorted(glob.glob(@dataset_dir + '/*')) if f.lower().endswith({endings})]",
        "network_def": "$torch.jit.load(@bundle_root + '/models/model.ts', map_location=@device)",
        "network": "$@network_def.to(@device)",
        "preprocessing": _compose([*_read_files(found), *_prepare_images(found)]),
        "inferer": {"_target_": "SimpleInferer"} if found.spatial_dims == 2 else _make_windows(found),
        "postprocessing": _compose([*_discretise_logits(source), _save_masks(found)]),
        **EVALUATION,
    }


def make_readme(source: Exportable, runs_anywhere: bool) -> str:
    """docs/README.md: the commands, and what the bundle is not."""
    device = "" if runs_anywhere else " --device cpu"
    names = ", ".join(source.preprocessing.classes)
    return f"""# A segmenter trained by genseg-betty {__version__}

Classes: {names}. In the folder of this bundle, with `pip install monai pytorch-ignite fire pillow nibabel`:

    python -m monai.bundle verify_net_in_out network_def --meta_file configs/metadata.json \\
      --config_file configs/inference.json{device}
    python -m monai.bundle run --config_file configs/inference.json --dataset_dir IMAGES --output_dir MASKS

`models/model.ts` takes the intensities of files, axes x first. `models/model.pt` holds the weights alone, for the
network that `configs/network.json` builds where genseg-betty is installed; that one takes images in -1..1, rows first.

Not a medical device. Validate on images of your own before you rely on a mask.
"""


def _list_packages(found: Preprocessing) -> dict[str, str]:
    import ignite

    packages = {"pytorch-ignite": ignite.__version__}
    if found.spatial_dims == 2:
        import PIL

        return {**packages, "pillow": PIL.__version__}
    import nibabel

    return {**packages, "nibabel": nibabel.__version__}


def _describe_input(found: Preprocessing, shape: list[Any]) -> dict[str, Any]:
    colours = ("red", "green", "blue") if found.channels == 3 else ("gray",)
    return {
        "type": "image",
        "format": "magnitude",
        "modality": "n/a",
        "num_channels": found.channels,
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": list(find_range(found)),
        "is_patch_data": found.spatial_dims == 3,
        "channel_def": {str(index): name for index, name in enumerate(colours)},
    }


def _describe_output(source: Exportable, shape: list[Any]) -> dict[str, Any]:
    """Of the logits: one channel above 0 for the foreground, or one for each class."""
    found = source.preprocessing
    names = found.classes if source.num_outputs > 1 else found.classes[1:]
    return {
        "type": "image",
        "format": "classes",
        "num_channels": source.num_outputs,
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": found.spatial_dims == 3,
        "channel_def": {str(index): name for index, name in enumerate(names)},
    }


# -- transforms: what `Preprocessing` does, by MONAI's names ------------------------------------------------------


def _compose(transforms: list[Transform]) -> Transform:
    return {"_target_": "Compose", "transforms": transforms}


def _apply_function(key: str, function: str) -> Transform:
    return {"_target_": "Lambdad", "keys": key, "func": f"${function}"}


def _read_files(found: Preprocessing) -> list[Transform]:
    """Files to [C, *], upright, with the channels that the network takes."""
    load: Transform = {"_target_": "LoadImaged", "keys": "image"}
    if found.spatial_dims == 2:
        modes = {"1": "L", "P": "RGBA", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
        upright = f"ImageOps.exif_transpose(i.convert({modes}[i.mode]) if i.mode in {list(modes)} else i)"
        load["reader"] = f"$monai.data.PILReader(converter=lambda i: {upright})"
    if found.channels == 1:
        weights = f"torch.tensor({list(LUMA)}).reshape(3, *[1] * {found.spatial_dims})"
        channels = f"x[:1] if x.shape[0] < 3 else (x[:3] * {weights}).sum(0, keepdim=True)"
    else:
        channels = "(x[:1] if x.shape[0] < 3 else x[:3]).expand(3, *x.shape[1:]).clone()"
    return [
        load,
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
        _apply_function("image", f"lambda x: {channels}"),
    ]


def _prepare_images(found: Preprocessing) -> list[Transform]:
    """What the network's graph does not do: place and spacing of volumes, percentiles of each image."""
    transforms: list[Transform] = []
    if found.intensity is None:
        lower, upper = PERCENTILES
        scaling = {"lower": lower, "upper": upper, "b_min": -1.0, "b_max": 1.0, "clip": True}
        transforms.append({"_target_": "ScaleIntensityRangePercentilesd", "keys": "image", **scaling})
    if found.spatial_dims == 3:
        if found.orientation is not None:
            transforms.append({"_target_": "Orientationd", "keys": "image", "axcodes": found.orientation})
        if found.spacing is not None:
            distances = list(found.spacing[::-1])
            transforms.append({"_target_": "Spacingd", "keys": "image", "pixdim": distances, "mode": "bilinear"})
    return transforms


def _make_windows(found: Preprocessing) -> Transform:
    """How `slide` goes over a volume."""
    windows = describe_windows(found)
    assert windows is not None
    return {
        "_target_": "SlidingWindowInferer",
        "roi_size": list(found.image_size[::-1]),
        "sw_batch_size": 1,
        "overlap": windows["overlap"],
        "mode": windows["weights"],
        "cval": windows["beyond"],
    }


def _discretise_logits(source: Exportable) -> list[Transform]:
    """Logits on the voxels of the file, then the label values of the training data."""
    found = source.preprocessing
    transforms: list[Transform] = []
    if found.spatial_dims == 3:
        inverse = {"transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False, "to_tensor": True}
        transforms.append({"_target_": "Invertd", "keys": "pred", **inverse})
    is_binary = source.num_outputs == 1
    choose = "(x > 0).float()" if is_binary else "x.argmax(0, keepdim=True).float()"
    transforms.append(_apply_function("pred", f"lambda x: {choose}"))
    indices = list(range(found.num_classes))
    values = _list_values(found)
    if values != indices:
        mapping = {"orig_labels": indices, "target_labels": values}
        transforms.append({"_target_": "MapLabelValued", "keys": "pred", **mapping})
    return transforms


def _list_values(found: Preprocessing) -> list[int]:
    """The value of each class in a mask; where the training masks are in colour, its index."""
    return [index if isinstance(value, tuple) else value for index, value in enumerate(found.label_values)]


def _save_masks(found: Preprocessing) -> Transform:
    """Each under the name of its image, as PNG or NIfTI."""
    kind = "uint8" if max(_list_values(found)) <= LARGEST_BYTE else "uint16"
    return {
        "_target_": "SaveImaged",
        "keys": "pred",
        "output_dir": "@output_dir",
        "output_postfix": "",
        "output_ext": ".png" if found.spatial_dims == 2 else ".nii.gz",
        "output_dtype": f"$np.{kind}",
        "resample": False,
        "separate_folder": False,
    }
