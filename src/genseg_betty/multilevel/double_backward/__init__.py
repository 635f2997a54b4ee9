"""Layers whose second derivative is written out, in place of what PyTorch puts together for them."""

from genseg_betty.multilevel.double_backward.mode import WrittenOutDoubleBackward

__all__ = ["WrittenOutDoubleBackward"]
