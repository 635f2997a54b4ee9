"""Segmenters that get their weights from a checkpoint: no pretrained ones are downloaded, or looked for."""

import copy
from collections.abc import Callable

from omegaconf import DictConfig, OmegaConf
from torch import nn

from genseg_betty.backbones.encoders import FROZEN_NOTE
from genseg_betty.backbones.pairs import MeanOfTwo
from genseg_betty.backbones.second_order import TwiceDifferentiable
from genseg_betty.build import build_second_segmenter, build_segmenter
from genseg_betty.config.encoder_weights import find_installed

BACKBONES = ("backbone", "second_backbone")  # sections of the config
SMP, MONAI = "segmentation_models_pytorch.", "monai.networks.nets."
NOT_PRETRAINED = {"weights": None, "pretrained": False}  # arguments by which MONAI and timm download no weights


def build_predicting(config: DictConfig, networks: int, *form: int) -> nn.Module:
    """The network that a Run predicts with, for its weights: its segmenter, or of two `networks` the mean of both.

    `form` is channels, number of outputs and spatial dimensions.
    """
    first = build_saved(build_segmenter, config, *form)
    if networks == 1:
        return first
    return MeanOfTwo(first, build_saved(build_second_segmenter, config, *form))


def build_saved(build: Callable[..., nn.Module], config: DictConfig, *form: int) -> nn.Module:
    """A segmenter as `build` makes it, for weights of a checkpoint: no pretrained ones are looked for."""
    network = build(leave_out_pretrained(config), *form)
    if isinstance(network, TwiceDifferentiable):
        network.notes.discard(FROZEN_NOTE)  # its encoder does not stay at random weights
    return network


def leave_out_pretrained(config: DictConfig) -> DictConfig:
    """The config without pretrained encoders: a Run holds all weights, so nothing is to be downloaded or installed."""
    config = copy.deepcopy(config)
    for part in BACKBONES:
        backbone = OmegaConf.select(config, part)
        if isinstance(backbone, DictConfig):
            _forget_pretrained(backbone)
    return config


def _forget_pretrained(backbone: DictConfig) -> None:
    """Let a section name no weights to be downloaded or installed."""
    target = str(backbone.get("_target_"))
    installed = find_installed(backbone.get("encoder_weights"))
    if installed is not None:
        backbone.encoder = installed.encoder  # a YAML file may leave it to the weights
    if "encoder_weights" in backbone or target.startswith(SMP):
        backbone.encoder_weights = None  # SMP's own classes fetch some unless told not to
    if target.startswith(("genseg_betty.", SMP, MONAI)):
        for section in (backbone, backbone.get("arguments")):
            if isinstance(section, DictConfig):
                asked = {key: value for key, value in NOT_PRETRAINED.items() if key in section}
                section.update(asked)
