"""The fixtures of the trainings that are looked at in numbers alone."""

from methods.conftest import pictures_unsaved

__all__ = ["pictures_unsaved"]
