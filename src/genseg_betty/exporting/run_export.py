"""`genseg export`: the trained segmenter of a Run in a file that needs neither the Run nor this package."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from genseg_betty.exporting.onnx_file import write_onnx
from genseg_betty.exporting.recording import Written
from genseg_betty.exporting.requirements import find_description, require_format, require_new
from genseg_betty.exporting.source import Exportable, read_source
from genseg_betty.exporting.torch_program import write_program
from genseg_betty.exporting.torchscript_file import write_script
from genseg_betty.files import atomic_write, remove_leftovers, to_json, whole_file, whole_folder

WRITERS: dict[str, Callable[[Exportable, Path], Written]] = {
    "onnx": write_onnx,
    "torch": write_program,
    "torchscript": write_script,
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file, or the folder of a bundle.
        written: what it says of itself, which images it takes, and how far its logits are from the network's.
        channels: of the images.
    """

    path: Path
    written: Written
    channels: int

    def summarise_images(self) -> str:
        """The images that it takes, as a sentence."""
        sizes = self.written.sizes
        shape = [sizes.batch or "any number", self.channels, *[side or "any" for side in sizes.sides]]
        return f"takes images [{', '.join(map(str, shape))}]"


def export_run(run: Path | str, format: str, out: Path | str, trust: bool = False) -> Exported:
    """Write the segmenter of the Run at `run` to `out`, whole or not at all, and check what it computes.

    Args:
        format: onnx, torch (torch.export), torchscript, or monai (a bundle, which is a folder).
        out: a new file; FILE.json, which says what the graph does not hold, comes beside it.
        trust: that of `load`.

    Raises:
        UserError: no trained segmenter, a file that is there already, a package that is missing, a network that cannot
            be exported so, or a file that computes something else than the Run's network; nothing is left of it.
    """
    out = Path(out)
    require_format(format)
    require_new(out)
    source = read_source(run, trust)
    channels = source.preprocessing.channels
    remove_leftovers([out.absolute().parent])
    if format == "monai":
        from genseg_betty.exporting.monai_bundle import write_bundle  # imports MONAI, which takes seconds

        with whole_folder(out) as folder:
            written = write_bundle(source, folder)
        return Exported(out, written, channels)
    with whole_file(out) as temporary:
        written = WRITERS[format](source, temporary)
        atomic_write(find_description(out), to_json(written.description).encode())
    return Exported(out, written, channels)
