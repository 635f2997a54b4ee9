"""A program of torch.export (.pt2), which PyTorch loads without this package."""

from pathlib import Path

import torch

from genseg_betty.exporting.description import KEY, describe_export
from genseg_betty.exporting.recording import Segmenter, Written, quiet_recorder, record_program
from genseg_betty.exporting.source import Exportable
from genseg_betty.files import to_json


def write_program(source: Exportable, path: Path) -> Written:
    """Write a segmenter as a program; its description lies in it as well. Raises UserError."""
    channels, size = source.preprocessing.channels, source.preprocessing.image_size
    program, sizes = record_program(source.build_segmenter(), channels, size)
    comparison = source.make_comparison()
    difference = comparison.compare(program.module(), sizes)
    description = describe_export(source, sizes, difference)
    with path.open("r+b") as file:
        torch.export.save(program, file, extra_files={KEY: to_json(description)})
    comparison.compare(open_program(path), sizes)
    return Written(description, sizes, difference)


def open_program(path: Path) -> Segmenter:
    """What a file computes."""
    with quiet_recorder(), path.open("rb") as file:
        return torch.export.load(file).module()
