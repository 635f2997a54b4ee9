"""What an experiment sweeps over: `hydra.sweeper.params` of its file, key -> values as on the command line."""

from collections.abc import Collection, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from genseg_betty.config.folders import conf_dir
from genseg_betty.errors import ConfigError

PARAMS = "hydra.sweeper.params"


def find_experiment(overrides: Sequence[Override]) -> str | None:
    """The experiment that the overrides choose."""
    chosen = [override.value() for override in overrides if override.key_or_group == "experiment"]
    return str(chosen[-1]) if chosen and chosen[-1] is not None else None


def read_swept_lines(experiment: str | None, folder: Path | None, given: Collection[str]) -> list[str]:
    """The overrides of an experiment's sweep, without those keys that are `given` otherwise.

    Args:
        folder: the user's own YAML files, which go before ours.

    Raises:
        ConfigError: the file is no YAML, or its sweep is no mapping of keys to values.
    """
    folders = [folder, conf_dir()] if folder else [conf_dir()]
    files = [place / "experiment" / f"{experiment}.yaml" for place in folders]
    file = next((file for file in files if file.is_file()), None)
    if experiment is None or file is None:
        return []
    try:
        params = OmegaConf.select(OmegaConf.load(file), PARAMS)
    except (OmegaConfBaseException, YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file} cannot be read: {error}"]) from error
    if params is None:
        return []
    if not OmegaConf.is_dict(params):
        raise ConfigError([f"{file}: {PARAMS} is {params}; expected keys with their values, such as seed: 0,1,2"])
    return [f"{key}={value}" for key, value in params.items() if str(key).lstrip("+") not in given]
