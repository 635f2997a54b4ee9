"""What makes a network of SMP a pretrained one: weights of its encoder, and images as these weights expect them."""

from dataclasses import dataclass
from typing import Any

from genseg_betty.backbones.encoder_input import PretrainedNetwork
from genseg_betty.backbones.encoders import TIMM
from genseg_betty.backbones.installed_weights import MEAN, MOST, STD, load_installed
from genseg_betty.config.encoder_weights import explain_contradiction, find_installed, name_encoder
from genseg_betty.errors import UserError


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder by SMP's name, and what its weights are: None, an installed or a downloaded set."""

    name: str
    weights: str | None

    @classmethod
    def read(cls, encoder: str | None, weights: str | None, usual: str) -> "EncoderChoice":
        """The encoder that is asked for; without one that of the weights, or the usual one.

        Raises UserError where the weights are for another encoder.
        """
        name = encoder or name_encoder(weights, usual)
        contradiction = explain_contradiction(name, weights)
        if contradiction:
            raise UserError(contradiction)
        return cls(name, weights)

    @property
    def downloaded(self) -> str | None:
        """The name of the weights where the library is to download them."""
        return None if find_installed(self.weights) else self.weights

    def finish_network(self, network: PretrainedNetwork, in_channels: int) -> None:
        """Load installed weights into the encoder, and let it see images as pretrained weights expect them."""
        if self.weights is None:
            return
        encoder: Any = network.network.encoder
        if find_installed(self.weights):
            load_installed(encoder, self.weights, in_channels)
            network.encoder_input.expect(in_channels, [MEAN], [STD], MOST)
            return
        mean, std, most = self._read_published(encoder)
        network.encoder_input.expect(in_channels, mean, std, most)

    def _read_published(self, encoder: Any) -> tuple[list[float], list[float], float]:
        """Mean and std of each colour, and the highest intensity, that downloaded weights were trained with."""
        from segmentation_models_pytorch import encoders

        if self.name.startswith(TIMM):
            published = encoder.model.pretrained_cfg
            return list(published["mean"]), list(published["std"]), 1.0
        published = encoders.get_preprocessing_params(self.name, self.weights)
        return published["mean"], published["std"], published["input_range"][1]
