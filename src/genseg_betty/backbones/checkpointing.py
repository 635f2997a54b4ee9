"""Activation checkpointing that a hypergradient can go through (Chen et al., arXiv:1604.06174).

Blocks keep their input alone and compute the rest again in the backward pass. Torch's own wrapper, and those of timm
and MONAI, compute it from the weights that the network has by then; but a hypergradient walks the graph of a step
after the optimizer has changed them in place. So a block is bound to the weights, the buffers and the mode (training or
evaluation) of its forward pass, and its BatchNorm does not count a batch twice. Where several processes share a batch,
they do so in both passes.

A hypergradient saves little by it, since its first backward pass records the recomputed activations: a UNet on 2 images
of 256 x 256 pixels peaks at 150 MiB instead of 200 without a hypergradient, and at 608 instead of 623 with one.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from genseg_betty.backbones.second_order import second_derivatives
from genseg_betty.errors import UserError
from genseg_betty.joint_batch import count_sharing
from genseg_betty.multilevel.divided_step import divide_step
from genseg_betty.multilevel.double_backward import WrittenOutDoubleBackward

NOTE = (
    "activation checkpointing saves memory in steps without a hypergradient only (warm-up, baselines, "
    "hypergradient=none or finite_difference)"
)


def checkpoint_if_asked(network: nn.Module, is_asked: bool) -> tuple[str, ...]:
    """`checkpoint_blocks` where that is asked for. Returns what the user should know."""
    if not is_asked:
        return ()
    checkpoint_blocks(network)
    return (NOTE,)


def checkpoint_blocks(network: nn.Module) -> nn.Module:
    """`network`, its repeated blocks recomputed in the backward pass; its state dict stays the same.

    Blocks are the elements of its Sequential, ModuleList and ModuleDict that hold two or more layers with weights;
    where they are nested, the outermost that hold none of their own kind.

    Raises:
        UserError: it has no such blocks.
    """
    blocks = list(_find_blocks(network))
    if not blocks:
        raise UserError(
            f"backbone.activation_checkpointing=true: {type(network).__name__} has no repeated blocks to recompute; "
            "set it to false."
        )
    for block in blocks:
        block.forward = _Recomputed(block)
    return network


def forget_checkpointing(network: nn.Module) -> None:
    """Let the blocks of a network keep their activations again: a graph of it is recorded, or it only predicts."""
    for module in network.modules():
        if isinstance(vars(module).get("forward"), _Recomputed):
            del module.forward


def _find_blocks(module: nn.Module) -> Iterator[nn.Module]:
    contains_blocks = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    for child in module.children():
        if contains_blocks and _is_block(child):
            yield child
        else:
            yield from _find_blocks(child)


def _is_block(module: nn.Module) -> bool:
    if isinstance(module, nn.ModuleList):
        return False  # it cannot be called
    layers = 0
    for part in module.modules():
        if part is module:
            continue
        if type(part) is type(module):
            return False
        has_weights = any(True for _ in part.parameters(recurse=False))
        layers += has_weights
    return layers >= 2


class _Recomputed:
    """The forward pass of a block that keeps its input alone; it takes the place of the block's own."""

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        self.recomputing = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plain = type(self.block).forward
        if self.recomputing or not torch.is_grad_enabled():
            return plain(self.block, *args, **kwargs)
        buffers = {name: buffer.clone() for name, buffer in self.block.named_buffers()}
        state = dict(self.block.named_parameters()) | buffers
        modes = [part.training for part in self.block.modules()]
        is_shared = count_sharing() > 1
        first = True

        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal first
            if first:
                first = False
                with WrittenOutDoubleBackward():  # as below: both passes must save the same for the backward pass
                    return plain(self.block, *args, **kwargs)
            with divide_step() if is_shared else nullcontext():
                return self._recompute(state, modes, args, kwargs)

        return checkpoint(run, *args, use_reentrant=False, **kwargs)

    def _recompute(
        self, state: dict[str, Tensor], modes: Sequence[bool], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The block at the weights and buffers of its first pass, in training or evaluation mode as it was then."""
        self.recomputing = True
        before = self._switch_modes(modes)
        try:
            with second_derivatives(), WrittenOutDoubleBackward():
                return functional_call(self.block, state, args, kwargs)
        finally:
            self._switch_modes(before)
            self.recomputing = False

    def _switch_modes(self, modes: Sequence[bool]) -> list[bool]:
        """Put the parts of the block into these modes. Returns the modes that they were in."""
        before = [part.training for part in self.block.modules()]
        for part, training in zip(self.block.modules(), modes, strict=True):
            part.training = training
        return before
