"""The settings of a run that its config may leave open, derived once from the config and the loaded data."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.data.inspect.default_settings import default_batch_size
from genseg_betty.data.inspect.fingerprint import Fingerprint, Settings
from genseg_betty.data.preprocessing import Preprocessing


def derive_settings(config: DictConfig, preprocessing: Preprocessing, fingerprint: Fingerprint) -> Settings:
    """Return the config's settings, and the fingerprint's defaults where the config leaves one open."""
    defaults = fingerprint.defaults
    image_size = preprocessing.image_size
    batch_size = OmegaConf.select(config, "trainer.batch_size")
    loss = OmegaConf.select(config, "trainer.loss", default="auto")
    return Settings(
        image_size=image_size,
        spacing=preprocessing.spacing,
        channels=preprocessing.channels,
        batch_size=batch_size or default_batch_size(image_size),
        loss=defaults.loss if loss == "auto" else loss,
        normalisation=_name_normalisation(config, preprocessing, defaults),
    )


def _name_normalisation(config: DictConfig, preprocessing: Preprocessing, defaults: Settings) -> str:
    """Name how intensities become -1 to 1; `preprocessing.intensity` is None where each image is scaled by itself."""
    intensity: Any = config.dataset.get("intensity")
    if not intensity:
        return defaults.normalisation if preprocessing.intensity else "each"
    if isinstance(intensity, str):
        return intensity
    low, high = intensity
    return f"window {low:g} to {high:g}"
