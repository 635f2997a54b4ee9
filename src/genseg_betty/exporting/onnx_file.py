"""ONNX by PyTorch's exporter on torch.export, checked by onnxruntime (opset and operators are the exporter's)."""

import contextlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from genseg_betty.errors import UserError
from genseg_betty.exporting.description import INPUT, KEY, OUTPUT, describe_export, name_axes
from genseg_betty.exporting.recording import (
    Segmenter,
    Sizes,
    Written,
    explain_unrecorded,
    quiet_recorder,
    record_program,
)
from genseg_betty.exporting.source import Exportable
from genseg_betty.files import to_json

MOST_BYTES = 2**31 - 2**20  # that one file of ONNX may hold of weights
UNCHECKED = float("nan")


def write_onnx(source: Exportable, path: Path) -> Written:
    """Write a segmenter to an ONNX file; its description lies in it as well.

    Raises UserError for a network that cannot be exported, and for a file that computes something else.
    """
    _require_small(source)
    channels, size = source.preprocessing.channels, source.preprocessing.image_size
    program, sizes = record_program(source.build_segmenter(), channels, size)
    model = _translate_program(program, sizes)
    _save_model(model, describe_export(source, sizes, UNCHECKED), path)
    difference = source.make_comparison().compare(open_onnx(path), sizes)
    description = describe_export(source, sizes, difference)
    _save_model(model, description, path)
    return Written(description, sizes, difference)


def open_onnx(path: Path) -> Segmenter:
    """What a file computes, by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run_session(images: Tensor) -> Tensor:
        (logits,) = session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(logits)

    return run_session


def _require_small(source: Exportable) -> None:
    """Raise UserError for more weights than one file of ONNX may hold."""
    held = sum(value.numel() * value.element_size() for value in source.simplified.state_dict().values())
    if held > MOST_BYTES:
        found = f"{held / 2**30:.1f} GiB of weights"
        raise UserError(f"the network has {found}, and a file of ONNX holds 2 GiB: choose --format torch")


def _translate_program(program: ExportedProgram, sizes: Sizes) -> Any:
    """The model of ONNX, its free axes named."""
    try:
        with quiet_recorder(), contextlib.redirect_stdout(io.StringIO()):
            translated = torch.onnx.export(
                program, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
            )
    except Exception as error:
        raise explain_unrecorded("torch.onnx.export", error) from error
    assert translated is not None
    model = translated.model
    _name_free_axes(model, sizes)
    return model


def _name_free_axes(model: Any, sizes: Sizes) -> None:
    """Call the free axes of input and output what they are."""
    import onnx_ir

    names = name_axes(len(sizes.sides))
    free = [sizes.batch is None, False, *[side is None for side in sizes.sides]]
    for value in (*model.graph.inputs, *model.graph.outputs):
        axes = [name if is_free else side for name, is_free, side in zip(names, free, value.shape, strict=True)]
        value.shape = onnx_ir.Shape(axes)


def _save_model(model: Any, description: dict[str, Any], path: Path) -> None:
    import onnx_ir

    model.metadata_props[KEY] = to_json(description)
    onnx_ir.save(model, path)
