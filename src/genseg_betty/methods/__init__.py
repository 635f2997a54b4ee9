"""What can be trained and compared, all by one protocol: `fit(run, data) -> Predictor`."""

from genseg_betty.methods.training import train

__all__ = ["train"]
