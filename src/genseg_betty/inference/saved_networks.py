"""Reads the trained networks of a Run back from its checkpoints, which may be damaged or a stranger's."""

import shlex
import warnings
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from genseg_betty.data.preprocessing import Preprocessing, count_outputs
from genseg_betty.device import resolve_device
from genseg_betty.errors import UserError
from genseg_betty.inference.predictor import Predictor
from genseg_betty.inference.recorded import read_preprocessing
from genseg_betty.inference.saved_backbones import BACKBONES, build_predicting, leave_out_pretrained
from genseg_betty.nnunet.commands import list_places
from genseg_betty.run import Run
from genseg_betty.trust import building_from

# What building a network and loading weights raise where the two do not fit, or a checkpoint lacks something.
MISMATCHES = (KeyError, TypeError, ValueError, RuntimeError, AttributeError)


def load(path: Path | str, device: str = "auto", trust: bool = False) -> Predictor:
    """The Predictor of the Run at `path`, on `device` (auto, cpu, cuda).

    An unfinished Run gives its best segmenter so far, with a warning. With `trust` any class that the Run's config.yaml
    names is imported and called, as in a training; without it only those of `genseg_betty.trust`. Raises UserError if
    there is no Run, no trained segmenter in it yet, one that is damaged, or a class of others that is not trusted.
    """
    run = Run.open(path)
    checkpoint = trained_segmenter(run)
    _refuse_foreign_network(run, checkpoint)
    config = leave_out_pretrained(run.config)
    preprocessing = saved_preprocessing(run, checkpoint)
    networks = checkpoint.get("networks", 1)
    parts = BACKBONES if networks == 2 else BACKBONES[:1]
    with building_from(run, config, parts, trust):
        try:
            _require_networks(networks, config)
            outputs = checkpoint["num_outputs"]
            _require_outputs(outputs, preprocessing.num_classes)
            form = preprocessing.channels, outputs, preprocessing.spatial_dims
            network = build_predicting(config, networks, *form)
            load_weights(network, checkpoint["weights"])
        except MISMATCHES as error:
            raise explain_damaged_part(run, "segmenter", error) from error
    return Predictor(network, preprocessing, resolve_device(device))


def _refuse_foreign_network(run: Run, checkpoint: dict[str, Any]) -> None:
    """Raise UserError for a Run that nnU-Net has trained, with the command that predicts with it."""
    options = checkpoint.get("nnunet")
    if options is None:
        return
    listed = shlex.join(map(str, options))  # a stranger's words, in a line that the user may paste
    places = list_places(run.path)
    words = [f"{name}={shlex.quote(place)}" for name, place in places.items()]
    settings = " ".join(words)
    raise UserError(
        f"the Run at {run.path} holds a network of nnU-Net, which nnU-Net alone runs. Predict with its command (images "
        f"named as nnU-Net wants them, x_0000.png):\n  {settings} \\\n  nnUNetv2_predict -i IMAGES -o MASKS {listed}"
    )


def _require_outputs(outputs: int, classes: int) -> None:
    """Raise ValueError unless there is one output for each class, or a single one for two classes."""
    if outputs != count_outputs(classes):
        raise ValueError(f"num_outputs is {outputs}, which is not that of {classes} classes")


def _require_networks(networks: Any, config: DictConfig) -> None:
    """Raise ValueError unless the checkpoint is of one network, or of two that the config describes."""
    described = sum(isinstance(OmegaConf.select(config, part), DictConfig) for part in BACKBONES)
    if type(networks) is not int or not 1 <= networks <= described:
        raise ValueError(f"networks is {networks!r}; the config describes {described}")


def saved_preprocessing(run: Run, checkpoint: dict[str, Any]) -> Preprocessing:
    """The preprocessing in a checkpoint of the segmenter. Raises UserError for what no training saves."""
    try:
        return read_preprocessing(checkpoint)
    except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
        raise explain_damaged_part(run, "preprocessing", error) from error


def trained_segmenter(run: Run) -> dict[str, Any]:
    """The checkpoint of the final segmenter; of a Run that has not finished, the best, with a warning."""
    checkpoint = run.load_checkpoint("predictor")
    if checkpoint is not None:
        return checkpoint
    checkpoint = run.load_checkpoint("best")
    if checkpoint is None:
        raise UserError(
            f"The Run at {run.path} has no trained segmenter yet (neither checkpoints/predictor.pt nor "
            "best.pt): run its training command again to go on until it ends."
        )
    warnings.warn(
        f"The Run at {run.path} has not finished, or its checkpoints/predictor.pt is gone: using its best segmenter so "
        "far (checkpoints/best.pt). The training's command makes the other.",
        stacklevel=3,
    )
    return checkpoint


def load_weights(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load a state dict; ValueError if a value is not finite, RuntimeError if keys or shapes differ."""
    broken = []
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            broken.append(name)
    if broken:
        raise ValueError(f"NaN or infinity in {', '.join(broken[:3])}")
    network.load_state_dict(weights)


def explain_damaged_part(run: Run, part: str, error: Exception) -> UserError:
    """The UserError for a checkpoint whose content does not fit the Run."""
    return UserError(
        f"The {part} saved in {run.path / 'checkpoints'} cannot be used: {type(error).__name__}: {error}. "
        "It is damaged or belongs to another config: copy the Run again, or train it with resume=restart."
    )
