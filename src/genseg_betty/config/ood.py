"""The datasets that a training is tested on as well: `ood`, and `ood_of` of an experiment over several datasets."""

from collections.abc import Collection
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.config.checking import check_dataset_section
from genseg_betty.config.composing import resolve_values
from genseg_betty.config.library import Library
from genseg_betty.config.overrides import tell_unknown_member
from genseg_betty.config.wording import show

OOD_OF = "ood_of"


def choose_ood(tree: DictConfig, dataset: str | None, names: Collection[str], problems: list[str]) -> None:
    """Take `ood_of` of an experiment out of the tree, and set `ood` to the list that it has for the chosen dataset.

    `ood_of: {isic: [ph2], jsrt: [nlm_mc]}` says which others a dataset of a sweep is tested on.
    """
    found = tree.pop(OOD_OF, None)
    if found is None:
        return
    lists: Any = OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
    if not isinstance(lists, dict) or not lists.keys() <= set(names):
        problems.append(f"{OOD_OF}={show(lists)}: expected {{dataset: [others], …}} with names of datasets")
        return
    if dataset in lists:
        tree.ood = lists[dataset]


def check_ood(entries: Any, library: Library, problems: list[str]) -> Any:
    """`ood` converted: names of datasets, or mappings of a name and keys of that dataset; faults go to `problems`."""
    if not isinstance(entries, list):
        return entries
    names = library.members["dataset"]
    converted = []
    for entry in entries:
        keys = entry if isinstance(entry, dict) else {}
        name = keys.get("name") if isinstance(entry, dict) else entry
        if name is None:
            problems.append(f"ood: {show(entry)}: expected the name of a dataset, or {{name: …, root: …}}")
        elif not isinstance(name, str) or name not in names:
            problem = tell_unknown_member("dataset", show(name), names)
            problems.append(problem.replace("dataset=", "ood: ", 1))
        elif keys:
            entry = _check_ood_keys(name, keys, library, problems)
        converted.append(entry)
    return converted


def _check_ood_keys(name: str, keys: dict[str, Any], library: Library, problems: list[str]) -> dict[str, Any]:
    """Keys that change a dataset which is only tested on, converted."""
    tree, _ = library.compose_members({"dataset": name})
    values = resolve_values(tree, problems)
    faults: list[str] = []
    checked = check_dataset_section({**values["dataset"], **keys}, faults)
    # What stands in the dataset trained on as well, and is taken over from there, is told of that one.
    own = [fault for fault in faults if fault not in problems]
    for fault in own:
        shortened = fault.replace("dataset.", "")
        problems.append(f"ood: {name}: {shortened}")
    return {key: checked.get(key, value) for key, value in keys.items()}
