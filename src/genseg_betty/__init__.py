"""Segmentation from a handful of labelled medical images: GenSeg, as three nested problems in Betty.

Example:
    import genseg_betty as gs

    run = gs.train(dataset="folder", root="scans", backbone="unet")
    run.results["test"]
    predict = gs.load(run.path)
    mask = predict(image)
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genseg_betty.errors import Interrupted, UserError
from genseg_betty.plotting import forget_unknown_backend
from genseg_betty.ranks import quiet_unless_first
from genseg_betty.search_path import installed_packages_only

if TYPE_CHECKING:
    from genseg_betty.exporting.run_export import export_run as export
    from genseg_betty.inference import Predictor, evaluate, generate
    from genseg_betty.inference import predict_images as predict
    from genseg_betty.interactive import TrainedRun

__all__ = [
    "Interrupted",
    "UserError",
    "__version__",
    "evaluate",
    "export",
    "generate",
    "load",
    "predict",
    "report",
    "train",
]
__version__ = version("genseg-betty")

# Functions that are imported when they are first asked for: what they need takes seconds to import.
_LATE = {
    "evaluate": ("genseg_betty.inference", "evaluate"),
    "export": ("genseg_betty.exporting.run_export", "export_run"),
    "generate": ("genseg_betty.inference", "generate"),
    "predict": ("genseg_betty.inference", "predict_images"),
}

forget_unknown_backend()  # before anything imports matplotlib


def train(overrides: Sequence[str] | Mapping[str, Any] = (), /, config_dir: Any = None, **keys: Any) -> "TrainedRun":
    """Train one Run, or go on with it where it was left; returns what came of it.

    Args:
        overrides: the same as on the command line, `["dataset=isic", "trainer.iterations=500"]`, or a dictionary.
        config_dir: path of a folder of your own YAML files, laid out as conf/; None without one.
        keys: more of them, as `seed=1, backbone="unet", **{"trainer.iterations": 500}`; `root` is dataset.root.

    Raises:
        UserError: for all that the caller can mend, with every fault in it.
        Interrupted: a signal asked the training to stop; its checkpoint is written.
    """
    from genseg_betty.config import compose, group_names, require_betty
    from genseg_betty.config.python_values import override_lines

    require_betty()
    with quiet_unless_first():
        config = compose(override_lines(overrides, keys, group_names()), config_dir)

        from genseg_betty.config.machine import require_card
        from genseg_betty.data.inspect.counting import require_dataset_folders

        require_dataset_folders(config)  # told at once: what follows imports PyTorch
        require_card(config.device)

        from genseg_betty.interactive import TrainedRun
        from genseg_betty.methods import train as train_method

        run = train_method(config)
        return TrainedRun(run.path, run.config, run.resuming)


def report(
    runs: Sequence[str | Path], out: str | Path = "report.html", against: str | None = None, metric: str | None = None
) -> Path:
    """Write one page about one Run or several, with tables and figures beside it; returns the page.

    Args:
        runs: run directories.
        out: the page; its tables and figures are written beside it, as `genseg report` does.
        against: name of the method that all others are compared with.
        metric: the score that is compared, such as "dice" or "hd95".

    Raises:
        UserError: no Run among them, or `out` cannot be written.
    """
    from genseg_betty.reporting import build_report

    return build_report([Path(run) for run in runs], Path(out), against, metric, has_figures=True)


def load(path: str | Path, device: str = "auto", trust: bool = False) -> "Predictor":
    """The trained segmenter of a Run: image array [H, W] or [H, W, C] -> label mask [H, W].

    It needs the Run's directory alone. `device` is auto, cpu or cuda. With `trust` any class that the Run's config.yaml
    names is imported and called; without it, only those of this package, segmentation_models_pytorch and MONAI. Raises
    UserError if there is no Run, or if it names another class and is not trusted.
    """
    with nullcontext() if trust else installed_packages_only():
        from genseg_betty.inference import load as load_predictor

        return load_predictor(path, device, trust)


def __getattr__(name: str) -> Any:
    """A function of `_LATE`. Raises AttributeError for a name that is none."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, function = _LATE[name]
    with installed_packages_only():
        return getattr(import_module(module), function)


def __dir__() -> list[str]:
    return __all__
