"""What a trained Run is good for: masks for new images, scores on other data, synthetic image-mask pairs."""

from genseg_betty.inference.evaluate import (
    evaluate,
    evaluate_dataset,
    evaluate_folders,
    evaluate_prediction_folders,
    evaluate_predictions,
)
from genseg_betty.inference.evaluation import Evaluation
from genseg_betty.inference.generate import generate
from genseg_betty.inference.pair_record import GeneratedPairs, PairRecord
from genseg_betty.inference.predict import predict_images, predict_paths
from genseg_betty.inference.prediction.results import PredictedClass, PredictedImage
from genseg_betty.inference.predictor import Predictor
from genseg_betty.inference.saved_networks import load
from genseg_betty.inference.scoring import score_cases

__all__ = [
    "Evaluation",
    "GeneratedPairs",
    "PairRecord",
    "PredictedClass",
    "PredictedImage",
    "Predictor",
    "evaluate",
    "evaluate_dataset",
    "evaluate_folders",
    "evaluate_prediction_folders",
    "evaluate_predictions",
    "generate",
    "load",
    "predict_images",
    "predict_paths",
    "score_cases",
]
