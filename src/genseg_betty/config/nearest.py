"""The key that a wrong one was most likely meant to be."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from genseg_betty.config.wording import describe

ALIKE = 0.7  # of the letters, from which a single word is taken for a section's name
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


def suggest_key(path: str, known: Mapping[str, Any], sections: Collection[str]) -> str:
    """ "; did you mean …?", or what there is in its place.

    Args:
        path: the dotted key that does not exist.
        known: all keys, each with its kind.
        sections: the dotted names of all sections, the whole config's own an empty one.
    """
    section, _, last = path.rpartition(".")
    key = SYNONYMS.get(last.lower())
    if key not in known and key not in sections:
        key = find_nearest_section(path, sections) if not section else None
        key = key or find_nearest(path, known) or find_nearest_section(path, sections)
    if key:
        return f"; did you mean {key} ({describe(known[key])})?" if key in known else f"; did you mean {key}?"
    beside = [name.rpartition(".")[2] for name in (*known, *sections) if name and name.rpartition(".")[0] == section]
    if section and beside:
        return f"; {section} has {', '.join(beside)}"
    return "; genseg --cfg shows all keys"


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """The known dotted name that `name` most likely means, or None.

    In its own section if there is such a section; else whatever ends alike, else the most alike of all.
    """
    names = {key.casefold(): key for key in known}
    name = name.casefold()
    section, _, last = name.rpartition(".")
    beside = {key.rpartition(".")[2]: key for key in names if key.rpartition(".")[0] == section}
    if section and beside:
        below = [key for key in names if key.startswith(f"{section}.") and key.endswith(f".{last}")]
        alike = [beside[key] for key in difflib.get_close_matches(last, beside, n=1)] or below
        return names[alike[0]] if alike else None
    endings: dict[str, list[str]] = {}
    for key in names:
        endings.setdefault(key.rpartition(".")[2], []).append(key)
    alike = difflib.get_close_matches(name, endings.get(last, ()), n=1, cutoff=0.0)
    alike = alike or difflib.get_close_matches(name, names, n=1)
    alike = alike or [endings[key][0] for key in difflib.get_close_matches(last, endings, n=1, cutoff=0.7)]
    return names[alike[0]] if alike else None


def find_nearest_section(path: str, sections: Iterable[str]) -> str | None:
    """The section beside `path` whose name is nearest: `trainer.optimizer` -> `trainer.optimizers`."""
    above, _, last = path.casefold().rpartition(".")
    places = {name: name.casefold().rpartition(".") for name in sections if name}
    beside = {place[2]: name for name, place in places.items() if place[0] == above}
    alike = difflib.get_close_matches(last, beside, n=1, cutoff=ALIKE)
    return beside[alike[0]] if alike else None
