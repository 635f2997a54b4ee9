"""The key that a wrong one was most likely meant to be."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from genseg_betty.config.wording import describe_kind

ALIKE = 0.7  # of the letters, from which a single word is taken for another
# What other programs call it.
SYNONYMS = {
    **dict.fromkeys(("epochs", "max_epochs", "num_epochs", "steps", "max_steps"), "trainer.iterations"),
    **dict.fromkeys(("n_train", "num_train", "n_labeled"), "dataset.n_labelled"),
    **dict.fromkeys(("learning_rate", "lr"), "trainer.optimizers.segmenter.lr"),
    **dict.fromkeys(("model", "network"), "backbone"),
    **dict.fromkeys(("data_dir", "data_root"), "dataset.root"),
    **dict.fromkeys(("output_dir", "out_dir", "out"), "run_dir"),
    "optimizer": "trainer.optimizers",
    "gpu": "device",
}
# Keys that some members of a group have and others have not.
ELSEWHERE = {
    "backbone.encoder_weights": "backbone=unet, deeplab and smp take lite0, lite2 and imagenet, swinunet timm's Swins",
}


def suggest_key(path: str, known: Mapping[str, Any], sections: Collection[str]) -> str:
    """ "; did you mean …?", or what there is in its place.

    Args:
        path: the dotted key that does not exist.
        known: all keys, each with its kind.
        sections: the dotted names of all sections, the whole config's own an empty one.
    """
    if path in ELSEWHERE:
        return f"; {ELSEWHERE[path]}"
    key = _find_likeliest(path, known, sections)
    if key and key in known:
        return f"; did you mean {key} ({describe_kind(known[key])})?"
    if key:
        return f"; did you mean {key}?"
    section, _ = _cut_last(path)
    beside = _list_beside(section, [*known, *sections])
    if section and beside:
        return f"; {section} has {', '.join(beside)}"
    return "; genseg --cfg shows all keys"


def find_nearest_key(name: str, known: Iterable[str]) -> str | None:
    """The known dotted name that `name` most likely means, or None.

    In its own section if there is such a section; else whatever ends alike, else the most alike of all.
    """
    names = {key.casefold(): key for key in known}
    folded = name.casefold()
    section, last = _cut_last(folded)
    beside = _list_beside(section, names)
    if section and beside:
        nearest = _find_in_section(section, last, beside, names)
    else:
        nearest = _find_anywhere(folded, last, names)
    return names[nearest] if nearest else None


def find_nearest_section(path: str, sections: Iterable[str]) -> str | None:
    """The section beside `path` whose name is nearest: `trainer.optimizer` -> `trainer.optimizers`."""
    above, last = _cut_last(path.casefold())
    beside = {}
    for section in sections:
        place, name = _cut_last(section.casefold())
        if section and place == above:
            beside[name] = section
    alike = _match_one(last, beside, cutoff=ALIKE)
    return beside[alike] if alike else None


def _find_likeliest(path: str, known: Mapping[str, Any], sections: Collection[str]) -> str | None:
    """The key or section that was most likely meant: what other programs call it goes before what looks alike."""
    section, last = _cut_last(path)
    synonym = SYNONYMS.get(last.lower())
    if synonym in known or synonym in sections:
        return synonym
    if not section:  # a word by itself is a section's name rather than a key's
        nearest = find_nearest_section(path, sections)
        if nearest:
            return nearest
    return find_nearest_key(path, known) or find_nearest_section(path, sections)


def _find_in_section(section: str, last: str, beside: list[str], names: Iterable[str]) -> str | None:
    """The most alike key of the section, or else the key of this name in a section below."""
    alike = _match_one(last, beside)
    if alike:
        return f"{section}.{alike}"
    for name in names:
        if name.startswith(f"{section}.") and name.endswith(f".{last}"):
            return name
    return None


def _find_anywhere(name: str, last: str, names: Iterable[str]) -> str | None:
    """The key that ends alike, the most alike key, or the first key whose last part is alike."""
    endings: dict[str, list[str]] = {}
    for key in names:
        _, ending = _cut_last(key)
        endings.setdefault(ending, []).append(key)
    alike = _match_one(name, endings.get(last, ()), cutoff=0.0) or _match_one(name, names)
    if alike:
        return alike
    ending_alike = _match_one(last, endings, cutoff=ALIKE)
    return endings[ending_alike][0] if ending_alike else None


def _match_one(word: str, words: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The most alike word; None where nothing is as alike as `cutoff`."""
    alike = difflib.get_close_matches(word, list(words), n=1, cutoff=cutoff)
    return alike[0] if alike else None


def _cut_last(name: str) -> tuple[str, str]:
    """The section and the last part of a dotted name."""
    section, _, last = name.rpartition(".")
    return section, last


def _list_beside(section: str, names: Iterable[str]) -> list[str]:
    """The last parts of the names in a section."""
    parts = [_cut_last(name) for name in names if name]
    return [last for place, last in parts if place == section]
