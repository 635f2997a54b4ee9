"""Names of SMP's encoders and timm's models, checked before anything is built; a wrong one is answered."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from heapq import nlargest
from typing import Any

from genseg_betty.errors import UserError

TIMM = "tu-"
FROZEN_NOTE = "the frozen encoder has random weights: set backbone.encoder_weights"


def list_nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """The names most like `name` in whole or in how they begin, whatever their case, as a list in words."""
    wanted = name.lower()

    def measure_likeness(other: str) -> float:
        whole = other.lower()
        beginning = whole[: len(wanted) + 1]
        return max(SequenceMatcher(None, wanted, part).ratio() for part in (whole, beginning))

    return ", ".join(nlargest(count, known, key=measure_likeness))


def list_frozen_notes(is_frozen: bool, weights: str | None) -> tuple[str, ...]:
    """What the user should know of a frozen encoder."""
    if is_frozen and weights is None:
        return (FROZEN_NOTE,)
    return ()


def check_encoder(encoder: str, weights: str | None) -> None:
    """Raises UserError for an encoder that neither SMP nor timm knows, and for weights that it has not."""
    from segmentation_models_pytorch import encoders

    if encoder.startswith(TIMM):
        _check_timm(encoder)
        return
    names = encoders.get_encoder_names()
    if encoder not in names:
        raise UserError(
            f"backbone.encoder={encoder}: no such encoder. Nearest: {list_nearest(encoder, names)}. "
            "timm's encoders are reached as tu-<timm name>."
        )
    known = list(encoders.encoders[encoder]["pretrained_settings"])
    if weights is not None and weights not in known:
        choices = ", ".join(known) or "none"
        raise UserError(
            f"backbone.encoder_weights={weights}: {encoder} comes with {choices}; "
            "set backbone.encoder_weights to one of these, or to null for random weights."
        )


def list_size_options(encoder: str) -> list[dict[str, Any]]:
    """Arguments by which a timm model takes images of any size, the likeliest first; models without them raise."""
    if not encoder.startswith(TIMM):
        return [{}]
    return [{"dynamic_img_size": True}, {"strict_img_size": False}, {}]


def explain_failure(encoder: str, weights: str | None, error: Exception, fitting: str = "resnet34") -> str:
    """What to tell the user of an encoder that could not be built; `fitting` names one that can."""
    found = f"backbone.encoder={encoder} could not be built: {type(error).__name__}: {error}"
    if weights is None:
        return f"{found}\nChoose an encoder that fits this backbone and these images, e.g. {fitting}."
    return (
        f"{found}\nIts pretrained weights ({weights}) may be out of reach. Leave backbone.encoder out and set "
        "backbone.encoder_weights=lite0 for a pretrained encoder that needs no download, set "
        "backbone.encoder_weights=null for random weights, go online once, or place the files in the Hugging Face "
        "cache (HF_HUB_CACHE, by default ~/.cache/huggingface/hub)."
    )


def _check_timm(encoder: str) -> None:
    import timm

    name = encoder.removeprefix(TIMM)
    if ":" in name or timm.is_model(name):  # "hf_hub:…" and "local-dir:…" are for timm to find
        return
    known = [TIMM + model for model in timm.list_models()]
    architecture, _, _ = encoder.partition(".")
    raise UserError(
        f"backbone.encoder={encoder} could not be built: timm has no such model. "
        f"Nearest: {list_nearest(architecture, known)}."
    )
