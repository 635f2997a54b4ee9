"""A recorded step made again at other weights, for its gradient alone."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from genseg_betty.multilevel.level import Level, find_peers
from genseg_betty.multilevel.recorded_step import RecordedStep, fill_missing


def find_record(level: Level) -> RecordedStep:
    """The record of the level's last step."""
    if level.record is None or not level.record.gradients:
        raise RuntimeError(f"level {level.name}: its last step was not recorded")
    return level.record


def replay_gradients(level: Level, weights: Sequence[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
    """∇ of the last step's loss for `parameters`, had the level's weights been `weights`.

    The same batch and random numbers; no buffer of any level keeps a trace.
    """
    record = find_record(level)
    displaced = record.weights | dict(zip(record.names, weights, strict=True))
    with ExitStack() as stack:
        for peer in find_peers(level):
            stack.enter_context(peer.network.with_copies_of(record.buffers[peer.name]))
        loss = level.compute_loss(level.cur_batch, "replay", displaced)
        return fill_missing(torch.autograd.grad(loss, parameters, allow_unused=True), parameters)
