"""What can be trained and compared, all by one protocol: `fit(run, data) -> Predictor`."""

from genseg_betty.training.run_training import train

__all__ = ["train"]
