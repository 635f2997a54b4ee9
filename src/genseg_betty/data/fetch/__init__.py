"""`genseg data fetch`: what a dataset YAML names under `about.fetch` is brought to the dataset's folder.

Downloads go on where they stopped, are checked against the publisher's checksum and unpacked safely. What has no
open address is told as steps for the user (`about.steps`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.data.cases import data_folder, resolve_root, scan_dataset
from genseg_betty.data.fetch.arrival import RECORD, WORKPLACE, bring, missing, working
from genseg_betty.data.fetch.entries import read_entries
from genseg_betty.data.fetch.screen import Screen
from genseg_betty.data.source.pairing import layout
from genseg_betty.errors import UserError

__all__ = ["Screen", "fetch_dataset", "read_entries"]


def fetch_dataset(config: Mapping[str, Any] | DictConfig, root: Path | None, screen: Screen) -> Path:
    """Bring a dataset to `root` (else where training looks for it); what is there already is left as it is.

    Returns the root. Raises UserError, with the steps to take, for a dataset that has no open address.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else dict(config)
    plain = {"reader": "files", "mask_required": "all", **plain}
    name, about = plain["name"], plain.get("about") or {}
    if plain["reader"] != "files":
        raise UserError(f"dataset {name} is drawn by the program; there is nothing to fetch")
    entries = read_entries(name, about.get("fetch") or [])
    target = _target(plain, root)
    plain["root"] = str(target)
    workplace = target / WORKPLACE
    if not (entries and workplace.exists()) and (found := _cases_there(plain)):
        screen.message(f"{name}: {found} cases are there already, in {target}; nothing was fetched")
        return target
    if not entries:
        raise UserError(_by_hand(plain, f"dataset {name} has no open address to fetch from"))
    if missing(entries, workplace):
        with working(name, target):
            for entry in missing(entries, workplace):
                bring(entry, target, screen)
    else:
        screen.message(f"{name}: all its files were fetched before; nothing was fetched")
    _tell_cases(plain, screen)
    return target


def _target(config: Mapping[str, Any], root: Path | None) -> Path:
    """Where training looks for the dataset, or would."""
    if root is not None:
        return root.expanduser().absolute()
    try:
        return resolve_root(config)
    except UserError:  # it is not there yet
        base = data_folder() or Path("data")
        return Path(config.get("root") or base / config["name"]).expanduser().absolute()


def _cases_there(config: Mapping[str, Any]) -> int:
    """The number of cases of a dataset without faults, else 0."""
    try:
        dataset, findings = scan_dataset(config)
    except UserError:
        return 0
    return 0 if findings else len(dataset.cases)


def _by_hand(config: Mapping[str, Any], found: str) -> str:
    about = config.get("about") or {}
    steps = about.get("steps") or [f"Get the data from its publisher: {about.get('source') or 'see its citation'}"]
    lines = [f"  {number}. {step}" for number, step in enumerate(steps, start=1)]
    heading = f"{found}. By hand:"
    check = f"Then: genseg data check {config['name']} root={config['root']}"
    return "\n".join([heading, *lines, f"Folder: {config['root']}", layout(config), check])


def _tell_cases(config: Mapping[str, Any], screen: Screen) -> None:
    name, root = config["name"], config["root"]
    dataset, findings = scan_dataset(config)
    screen.message(f"{name}: {len(dataset.cases)} cases in {root}")
    if dataset.cases and not findings:
        return
    if (config.get("about") or {}).get("steps"):
        screen.message(_by_hand(config, f"{name} is not complete yet"))
    else:
        screen.message(
            f"{name} has {len(findings)} faults. {layout(config)}\nTo see them: genseg data check {name} root={root}\n"
            f"To fetch all of it anew: delete {Path(root, WORKPLACE, RECORD)}"
        )
