"""What is exported of a Run: its segmenter as it predicts, in a form that a graph holds, and its preprocessing."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from torch import nn

from genseg_betty.data.preprocessing import Preprocessing, count_outputs
from genseg_betty.errors import UserError
from genseg_betty.exporting.comparison import Comparison
from genseg_betty.exporting.graph import FileSegmenter, find_range, simplify_network
from genseg_betty.inference import load
from genseg_betty.inference.saved_backbones import leave_out_pretrained
from genseg_betty.run import Run


@dataclass(frozen=True)
class Exportable:
    """A Run's segmenter.

    Attributes:
        config: of the Run, without pretrained weights.
        preprocessing: that its training images fixed.
        network: as it predicts, [B, C, *] in -1..1 -> logits.
        simplified: the same without what training needs of it.
    """

    config: DictConfig
    preprocessing: Preprocessing
    network: nn.Module
    simplified: nn.Module

    @property
    def num_outputs(self) -> int:
        """Channels of the logits."""
        return count_outputs(self.preprocessing.num_classes)

    def build_segmenter(self) -> FileSegmenter:
        """What a graph is recorded of: intensities of files -> logits."""
        return FileSegmenter(self.simplified, self.preprocessing.intensity).eval()

    def make_comparison(self) -> Comparison:
        """What the file is compared with."""
        found = self.preprocessing
        reference = FileSegmenter(self.network, found.intensity).eval()
        return Comparison(reference, found.channels, found.image_size, find_range(found))


def read_source(path: Path | str, trust: bool) -> Exportable:
    """Read a Run's segmenter, on the CPU. Raises UserError as `load` does, and for a Run of nnU-Net."""
    run = Run.open(path)
    if OmegaConf.select(run.config, "method.name") == "nnunet":
        raise UserError(
            f"the Run at {run.path} holds a network of nnU-Net, which nnU-Net's own command takes away: "
            "nnUNetv2_export_model_to_zip. Export a Run of another method"
        )
    predictor = load(run.path, "cpu", trust)
    return Exportable(
        config=leave_out_pretrained(run.config),
        preprocessing=predictor.preprocessing,
        network=predictor.network,
        simplified=simplify_network(predictor.network),
    )
