"""What a trained Run is good for: masks for new images, scores on other data, synthetic image-mask pairs."""

from genseg_betty.inference.evaluate import (
    Evaluation,
    evaluate_dataset,
    evaluate_folders,
    score_cases,
)
from genseg_betty.inference.generate import generate
from genseg_betty.inference.predict import predict_images, predict_paths
from genseg_betty.inference.prediction.results import PredictedClass, PredictedImage
from genseg_betty.inference.predictor import Predictor
from genseg_betty.inference.saved_networks import load

__all__ = [
    "Evaluation",
    "PredictedClass",
    "PredictedImage",
    "Predictor",
    "evaluate_dataset",
    "evaluate_folders",
    "generate",
    "load",
    "predict_images",
    "predict_paths",
    "score_cases",
]
