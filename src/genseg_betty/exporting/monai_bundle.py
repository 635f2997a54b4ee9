"""A bundle of MONAI: a folder that MONAI's own command line checks and runs, without this package.

https://docs.monai.io/en/stable/mb_specification.html says what it holds. The network is TorchScript with the axes as
MONAI has them, x first. For images it holds the whole way from the file's intensities to logits at the file's size;
for volumes MONAI's transforms and windows lie around it.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genseg_betty.backbones.second_order import TwiceDifferentiable
from genseg_betty.build import read_backbone
from genseg_betty.errors import UserError
from genseg_betty.exporting.bundle_configs import make_inference, make_metadata, make_readme
from genseg_betty.exporting.comparison import Comparison
from genseg_betty.exporting.graph import AnySizeSegmenter, FileSegmenter, ReversedAxes, find_range
from genseg_betty.exporting.recording import Sizes, Written, names_device, quiet_recorder, trace_script
from genseg_betty.exporting.source import Exportable
from genseg_betty.exporting.torchscript_file import find_script_sizes, open_script
from genseg_betty.files import to_json

SCHEMA_FILE = "bundle_metadata.schema.json"


def write_bundle(source: Exportable, folder: Path) -> Written:
    """Write a bundle into an empty folder; its description is its metadata.

    Raises UserError for a network that cannot be traced, and for one that then computes something else.
    """
    configs, models, docs = (folder / name for name in ("configs", "models", "docs"))
    for part in (configs, models, docs):
        part.mkdir()
    script, sizes, difference = _trace_network(source, models / "model.ts")
    metadata = make_metadata(source, sizes)
    check_metadata(metadata)
    weights = _find_own(source.network).state_dict()
    torch.save(weights, models / "model.pt")
    runs_anywhere = not names_device(script)
    texts = {
        configs / "metadata.json": to_json(metadata),
        configs / "inference.json": to_json(make_inference(source, runs_anywhere)),
        configs / SCHEMA_FILE: to_json(read_schema()),
        docs / "README.md": make_readme(source, runs_anywhere),
    }
    network = _describe_network(source)
    if network is not None:
        texts[configs / "network.json"] = to_json({"network_def": network})
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return Written(metadata, sizes, difference)


def read_schema() -> dict[str, Any]:
    """The JSON schema that metadata.json is checked against: what MONAI's specification asks for."""
    text = resources.files(__package__).joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def check_metadata(metadata: dict[str, Any]) -> None:
    """Raise UserError for metadata of another form than the schema's."""
    import jsonschema

    plain = json.loads(to_json(metadata))
    try:
        jsonschema.validate(plain, read_schema())
    except jsonschema.ValidationError as error:
        place = "/".join(map(str, error.absolute_path))
        raise UserError(f"metadata.json does not fit its schema at {place}: {error.message}") from error


def _trace_network(source: Exportable, path: Path) -> tuple[torch.jit.ScriptModule, Sizes, float]:
    """Write the network as TorchScript; returns it, the sizes that it takes and the largest difference found."""
    found = source.preprocessing
    simplified = _order_axes(source, source.simplified)
    reference = _order_axes(source, source.network)
    size = found.image_size[::-1]
    script = trace_script(simplified, found.channels, size)
    with quiet_recorder():
        torch.jit.save(script, str(path))
    comparison = Comparison(reference, found.channels, size, find_range(found))
    sizes = find_script_sizes(script, comparison)
    return script, sizes, comparison.compare(open_script(path), sizes)


def _order_axes(source: Exportable, network: nn.Module) -> nn.Module:
    """A network as the bundle calls it: intensities of files with x first -> logits."""
    found = source.preprocessing
    segmenter: nn.Module
    if found.spatial_dims == 2:
        segmenter = AnySizeSegmenter(network, found.intensity, found.image_size)
    else:
        segmenter = FileSegmenter(network, found.intensity)
    return ReversedAxes(segmenter, found.spatial_dims).eval()


def _describe_network(source: Exportable) -> dict[str, Any] | None:
    """How this package builds the network that model.pt fits, for MONAI's `_target_`; None for a pair of networks."""
    if "second_backbone" in source.config and source.config.second_backbone is not None:
        return None
    found = source.preprocessing
    return read_backbone(source.config.backbone, found.channels, source.num_outputs, found.spatial_dims)


def _find_own(network: nn.Module) -> nn.Module:
    """The network as its backbone's function returns it."""
    if type(network) is TwiceDifferentiable:
        return network.network
    return network
