"""What changes masks and images at random: geometry, elastic displacement and intensity, put together by a recipe."""

from genseg_betty.augment.recipe import Augmentation

__all__ = ["Augmentation"]
