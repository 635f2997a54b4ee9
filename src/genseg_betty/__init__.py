"""Segmentation from a handful of labelled medical images: GenSeg, as three nested problems in Betty.

Example:
    import genseg_betty as gs

    run = gs.train(["dataset=folder", "dataset.root=scans", "backbone=unet"])
    predict = gs.load(run.path)
    mask = predict(image)
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genseg_betty.inference import Predictor
    from genseg_betty.run import Run

__all__ = ["__version__", "load", "train"]
__version__ = version("genseg-betty")


def train(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> "Run":
    """Train one Run, or go on with it where it was left.

    Args:
        overrides: the same as on the command line: `["dataset=isic", "trainer.iterations=500"]`.
        config_dir: a folder of your own YAML files, laid out as conf/.

    Raises:
        UserError: for all that the caller can mend, with every fault in it.
        Interrupted: a signal asked the training to stop; its checkpoint is written.
    """
    from genseg_betty.config import compose, require_betty

    require_betty()
    config = compose(overrides, config_dir)

    from genseg_betty.data.counting import require_folders

    require_folders(config)  # told at once: what follows imports PyTorch

    from genseg_betty.methods import train as train_method

    return train_method(config)


def load(path: str | Path, device: str = "auto") -> "Predictor":
    """The trained segmenter of a Run: image array [H, W] or [H, W, C] -> label mask [H, W].

    It needs the Run's directory alone. `device` is auto, cpu or cuda. Raises UserError if there is no Run.
    """
    from genseg_betty.inference import load as load_predictor

    return load_predictor(path, device)
