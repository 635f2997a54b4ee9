"""`genseg data fetch`: what a dataset YAML names under `about.fetch` is brought to the dataset's folder.

Downloads go on where they stopped, are checked against the publisher's checksum and unpacked safely. What has no
open address is told as steps for the user (`about.steps`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.data.cases import data_folder, resolve_root, scan_dataset
from genseg_betty.data.fetch.arrival import RECORD, WORKPLACE, bring_entry, find_missing, open_workplace
from genseg_betty.data.fetch.entries import Entry, read_entries
from genseg_betty.data.fetch.screen import Screen
from genseg_betty.data.source.pairing import layout
from genseg_betty.errors import UserError

__all__ = ["Screen", "fetch_dataset", "read_entries"]


def fetch_dataset(config: Mapping[str, Any] | DictConfig, root: Path | None, screen: Screen) -> Path:
    """Bring a dataset to `root` (else where training looks for it); what is there already is left as it is.

    Returns the root. Raises UserError, with the steps to take, for a dataset that has no open address.
    """
    plain = _read_plain(config)
    name = plain["name"]
    about = plain.get("about") or {}
    if plain["reader"] != "files":
        raise UserError(f"dataset {name} is drawn by the program; there is nothing to fetch")
    entries = read_entries(name, about.get("fetch") or [])
    target = _find_target(plain, root)
    plain["root"] = str(target)

    # A fetch that was begun goes on; else whatever is there already is not fetched again.
    workplace = target / WORKPLACE
    begun = entries and workplace.exists()
    found = 0 if begun else _count_cases(plain)
    if found:
        screen.print_message(f"{name}: {found} cases are there already, in {target}; nothing was fetched")
        return target
    if not entries:
        raise UserError(_explain_by_hand(plain, f"dataset {name} has no open address to fetch from"))
    _bring_missing(name, entries, target, screen)
    _tell_cases(plain, screen)
    return target


def _read_plain(config: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """A dataset's config as a dictionary, with the defaults of keys that are asked for here."""
    given: Any = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    return {"reader": "files", "mask_required": "all", **given}


def _bring_missing(name: str, entries: Sequence[Entry], target: Path, screen: Screen) -> None:
    workplace = target / WORKPLACE
    if not find_missing(entries, workplace):
        screen.print_message(f"{name}: all its files were fetched before; nothing was fetched")
        return
    with open_workplace(name, target):
        for entry in find_missing(entries, workplace):  # asked anew: another process may have brought some
            bring_entry(entry, target, screen)


def _find_target(config: Mapping[str, Any], root: Path | None) -> Path:
    """Where training looks for the dataset, or would."""
    if root is not None:
        return root.expanduser().absolute()
    try:
        return resolve_root(config)
    except UserError:  # it is not there yet
        base = data_folder() or Path("data")
        target = Path(config.get("root") or base / config["name"])
        return target.expanduser().absolute()


def _count_cases(config: Mapping[str, Any]) -> int:
    """The number of cases of a dataset without faults, else 0."""
    try:
        dataset, findings = scan_dataset(config)
    except UserError:
        return 0
    return 0 if findings else len(dataset.cases)


def _explain_by_hand(config: Mapping[str, Any], found: str) -> str:
    """What was found, and the steps by which a user gets the data."""
    name = config["name"]
    root = config["root"]
    about = config.get("about") or {}
    source = about.get("source") or "see its citation"
    steps = about.get("steps") or [f"Get the data from its publisher: {source}"]
    lines = [
        f"{found}. By hand:",
        *(f"  {number}. {step}" for number, step in enumerate(steps, start=1)),
        f"Folder: {root}",
        layout(config),
        f"Then: genseg data check {name} root={root}",
    ]
    return "\n".join(lines)


def _tell_cases(config: Mapping[str, Any], screen: Screen) -> None:
    """Say how many cases came; where the dataset is not whole also what is left to do."""
    name = config["name"]
    root = config["root"]
    about = config.get("about") or {}
    dataset, findings = scan_dataset(config)
    count = len(dataset.cases)
    screen.print_message(f"{name}: {count} cases in {root}")
    if dataset.cases and not findings:
        return
    if about.get("steps"):
        screen.print_message(_explain_by_hand(config, f"{name} is not complete yet"))
        return
    lines = [
        f"{name} has {len(findings)} faults. {layout(config)}",
        f"To see them: genseg data check {name} root={root}",
        f"To fetch all of it anew: delete {Path(root, WORKPLACE, RECORD)}",
    ]
    screen.print_message("\n".join(lines))
