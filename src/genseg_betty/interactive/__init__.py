"""What a Python program or a notebook gets of a training: its results, its history and its figures."""

from genseg_betty.interactive.trained_run import TrainedRun

__all__ = ["TrainedRun"]
