"""TorchScript by tracing (.ts), which C++, Java and MONAI load without Python code of ours."""

from pathlib import Path

import torch

from genseg_betty.exporting.comparison import Comparison
from genseg_betty.exporting.description import KEY, describe_export
from genseg_betty.exporting.recording import Segmenter, Sizes, Written, names_device, quiet_recorder, trace_script
from genseg_betty.exporting.source import Exportable
from genseg_betty.files import to_json


def write_script(source: Exportable, path: Path) -> Written:
    """Write a segmenter as TorchScript; its description lies in it as well. Raises UserError."""
    found = source.preprocessing
    script = trace_script(source.build_segmenter(), found.channels, found.image_size)
    comparison = source.make_comparison()
    sizes = find_script_sizes(script, comparison)
    difference = comparison.compare(script, sizes)
    description = describe_export(source, sizes, difference)
    description["device"] = "cpu" if names_device(script) else "any"
    with quiet_recorder():
        torch.jit.save(script, str(path), _extra_files={KEY: to_json(description)})
    comparison.compare(open_script(path), sizes)
    return Written(description, sizes, difference)


def find_script_sizes(script: Segmenter, comparison: Comparison) -> Sizes:
    """The sizes of images that a traced graph takes, found out by trying: it does not say."""
    if comparison.takes_other_sizes(script):
        return Sizes(None, (None,) * len(comparison.size))
    return Sizes(None, comparison.size)


def open_script(path: Path) -> Segmenter:
    """What a file computes."""
    with quiet_recorder():
        script: Segmenter = torch.jit.load(str(path), map_location="cpu")
    return script
