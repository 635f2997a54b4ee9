"""Weights that rise as a training goes on (Laine and Aila, Temporal Ensembling, ICLR 2017)."""

import torch
from torch import Tensor


def ramp_up(progress: Tensor, end: float = 1.0) -> Tensor:
    """exp(-5 (1 - t / end)²), and 1 from `end` on; t is the share of the training's steps that were made."""
    missing = 1 - (progress / end).clamp(0, 1)
    return torch.exp(-5 * missing.square())


def begin_at(progress: Tensor, start: float) -> Tensor:
    """0 before the share `start` of the training's steps was made, 1 from there on."""
    return (progress >= start).to(progress.dtype)
