"""What has to be known beside an exported graph to predict as `genseg predict` does, as JSON: docs/export.md."""

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from genseg_betty import __version__
from genseg_betty.backbones.sliding import DARKEST, OVERLAP
from genseg_betty.data.intensities import LUMA, PERCENTILES, SAMPLED
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.exporting.graph import find_range
from genseg_betty.exporting.recording import Sizes
from genseg_betty.exporting.source import Exportable

SCHEMA = 1
KEY = "genseg_betty"
"""Under which an ONNX file, and PyTorch's two formats, hold the description."""
INPUT, OUTPUT = "image", "logits"
AXES = {2: ("height", "width"), 3: ("depth", "height", "width")}
NAMED = ("dataset.name", "backbone.name", "method.name", "seed")


def describe_export(source: Exportable, sizes: Sizes, difference: float) -> dict[str, Any]:
    """The description of an exported file.

    Args:
        sizes: of the images that it takes.
        difference: the largest between its logits and those of the Run's network, where it was checked.
    """
    found = source.preprocessing
    return {
        "schema": SCHEMA,
        "made_by": f"genseg-betty {__version__}",
        "run": {name: OmegaConf.select(source.config, name) for name in NAMED},
        "input": _describe_input(found, sizes),
        "preparation": _describe_preparation(found),
        "output": {
            "name": OUTPUT,
            "channels": source.num_outputs,
            "mask": "logits > 0" if source.num_outputs == 1 else "argmax over the channels",
        },
        "classes": _list_classes(found),
        "windows": describe_windows(found),
        "largest_difference": difference,
    }


def name_axes(spatial_dims: int) -> tuple[str, ...]:
    """The axes of images and logits, in their order."""
    return ("batch", "channel", *AXES[spatial_dims])


def _describe_input(found: Preprocessing, sizes: Sizes) -> dict[str, Any]:
    return {
        "name": INPUT,
        "axes": name_axes(found.spatial_dims),
        "type": "float32",
        "channels": found.channels,
        "size": found.image_size,
        "batch": sizes.batch,
        "takes_any_size": sizes.takes_any_sides,
        "range": find_range(found),
    }


def _describe_preparation(found: Preprocessing) -> dict[str, Any]:
    """What is done to a file's intensities before the graph; what lies in it is not repeated."""
    return {
        "luma": LUMA,
        "black_and_white": found.scale,
        "clip": found.intensity,
        "percentiles": None if found.intensity else PERCENTILES,
        "sampled": SAMPLED,
        "spacing": found.spacing,
        "orientation": found.orientation,
    }


def _list_classes(found: Preprocessing) -> list[dict[str, Any]]:
    """Name, and value or colour, of each class."""
    classes = []
    for name, value in zip(found.classes, found.label_values, strict=True):
        kind = "colour" if isinstance(value, Sequence) else "value"
        classes.append({"name": name, kind: value})
    return classes


def describe_windows(found: Preprocessing) -> dict[str, Any] | None:
    """How volumes, which are larger than the network's input, are gone over; None for images."""
    if found.spatial_dims == 2:
        return None
    low, high = find_range(found)
    beyond = low + (DARKEST + 1) / 2 * (high - low)
    return {"size": found.image_size, "overlap": OVERLAP, "weights": "gaussian", "beyond": beyond}
