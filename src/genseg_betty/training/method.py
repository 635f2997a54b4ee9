"""What a training asks of a method, whatever it trains and wherever."""

from typing import Any, Protocol

from omegaconf import DictConfig

from genseg_betty.data.loading import DataBundle
from genseg_betty.inference.predictor import Predictor
from genseg_betty.run import Run
from genseg_betty.tracking import Tracker
from genseg_betty.training.warm_up_description import Description


class Method(Protocol):
    """One way to train a segmenter.

    Attributes:
        has_generator: whether it trains a generator, which the Run then keeps.
        learns_architecture: whether stage III has a part in it.
        uses_unlabelled: whether it learns from images without masks too.
        divides_batches: whether several processes can share its batches; a method without this attribute has none.
        trains_backbone: whether what it trains is the backbone of the config.
    """

    has_generator: bool
    learns_architecture: bool
    uses_unlabelled: bool
    trains_backbone: bool

    def fit(self, run: Run, data: DataBundle, tracker: Tracker) -> tuple[Predictor, dict[str, Any]]:
        """Train within `run`, from its last checkpoint if it has one, and log to `tracker`.

        Returns the Predictor, whose weights are in checkpoints/predictor.pt, and the method's part of results.json.
        """

    def check_continuing(self, run: Run) -> None:
        """Raise UserError where the method cannot go on with a Run as its config asks; nothing is written yet."""

    def describe_warm_up(self, config: DictConfig, data: DataBundle) -> Description | None:
        """What the warm-up of the generator depends on; None for methods without a generator."""
