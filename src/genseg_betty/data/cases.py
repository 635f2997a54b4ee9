"""A dataset YAML and a root folder become a Dataset."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.data.convert import Converted, convert_dataset
from genseg_betty.data.formats import split_name
from genseg_betty.data.inspect.diagnosis import diagnose_pairing, find_elsewhere
from genseg_betty.data.inspect.group_hint import propose_group
from genseg_betty.data.source.building import build_from_files, build_phantom
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding, merge_findings
from genseg_betty.data.source.folds import Folds
from genseg_betty.data.source.pairing import layout, pair_files
from genseg_betty.data.split.split_file import read_split_file
from genseg_betty.data.split.test_part import take_test_part
from genseg_betty.errors import UserError
from genseg_betty.faults import list_examples

MAX_SHOWN = 40  # kinds of faults in one error message
MAX_NAMED = 8  # files of a folder named in one error message


def resolve_root(config: Mapping[str, Any] | DictConfig) -> Path:
    """The dataset's folder: its `root`, else ${GENSEG_DATA}/<name>, else data/<name>. Raises UserError."""
    plain = _to_plain(config)
    places = _list_places(plain)
    for place in places:
        if os.path.isdir(place):  # False, too, of a name that is too long, or in a folder that one may not enter
            return place.absolute()
    name = plain["name"]
    looked = " and ".join(map(_describe_place, places))
    message = (
        f"dataset {name}: no folder at {looked}.\n{layout(plain)}\n"
        "Give the folder with dataset.root=DIR (`genseg data` and `genseg evaluate`: root=DIR), "
        f"or set GENSEG_DATA to the folder that holds {name}/."
    )
    about = plain.get("about") or {}
    if about.get("fetch") or about.get("steps"):
        message += f" Where the data come from: genseg data fetch {name}"
    raise UserError(message)


def _list_places(config: Mapping[str, Any]) -> list[Path]:
    """Where a dataset's folder may be, the first place first."""
    if config.get("root"):
        return [Path(config["root"]).expanduser()]
    name = config["name"]
    places = [Path("data") / name]
    base = data_folder()
    if base:
        places.insert(0, base / name)
    return places


def _describe_place(place: Path) -> str:
    told = " (a file)" if os.path.isfile(place) else ""
    return f"{place.absolute()}{told}"


def data_folder() -> Path | None:
    """The folder of all datasets, $GENSEG_DATA. Raises UserError where that lies with a user who has no home."""
    text = os.environ.get("GENSEG_DATA")
    if not text:
        return None
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"GENSEG_DATA is {text!r}, and there is no such user; expected the path of a folder") from None


def require_root(config: Mapping[str, Any] | DictConfig) -> None:
    """Raise UserError for a dataset that is read from files and whose folder is not there."""
    if _to_plain(config)["reader"] == "files":
        resolve_root(config)


def open_dataset(config: Mapping[str, Any] | DictConfig) -> Dataset:
    """Build the Dataset that a dataset YAML describes.

    Raises UserError, with every pairing fault in it, where the root or masks are missing.
    """
    dataset, findings = scan_dataset(config)
    if findings:
        raise UserError(describe_findings(dataset, findings))
    return dataset


def scan_dataset(config: Mapping[str, Any] | DictConfig, converting: bool = True) -> tuple[Dataset, list[Finding]]:
    """As `open_dataset`, but the faults come back beside the cases that are sound. No pixel is read.

    A dataset that names a converter is converted first, unless not `converting`: its cases are then those that were
    converted before.
    """
    plain = _to_plain(config)
    if plain["reader"] == "phantom":
        dataset = build_phantom(plain)
        return dataset, _take_split(dataset, plain)
    if plain["reader"] != "files":
        reader = repr(plain["reader"])
        raise UserError(f"dataset {plain['name']}: reader is {reader}; expected files or phantom")
    root = resolve_root(plain)
    converted = Converted(root)
    if plain.get("convert") and converting:
        converted = convert_dataset(plain["convert"], root)

    paired = pair_files(root, plain)
    findings = list(converted.findings)
    findings += diagnose_pairing(plain, paired.findings, len(paired.masks), root)
    dataset = build_from_files(root, plain, paired)
    dataset.notes = [*converted.notes]
    dataset.notes += take_test_part(dataset, plain, paired, findings)
    dataset.notes += paired.notes
    dataset.notes += _note_groups(dataset, plain)
    if dataset.cases and dataset.unlabelled:
        dataset.notes.append(f"{len(dataset.unlabelled)} images have no mask and count as unlabelled data")
    if not dataset.cases and not findings:
        findings.append(_find_nothing(root, plain))
    return dataset, findings + _take_split(dataset, plain)


def _find_nothing(root: Path, config: Mapping[str, Any]) -> Finding:
    """The fault of a folder without any image that has its mask."""
    advice = find_elsewhere(root, config) or layout(config)
    contents = _list_contents(root)
    return Finding("too_few", ".", f"holds no image with its mask{contents}. {advice}")


def _note_groups(dataset: Dataset, config: Mapping[str, Any]) -> list[str]:
    """What the names say of patients, where neither a group nor a split of the user's own does."""
    split = config.get("split") or {}
    names_groups = config.get("group") or config.get("group_starts")
    if names_groups or split.get("file") or split.get("test_groups"):
        return []
    stems = {}
    for case in dataset.cases:
        stem, _ = split_name(case.image.name)
        stems[dataset.path_below(case.image)] = stem
    hint = propose_group(stems)
    return [hint] if hint else []


def _list_contents(root: Path) -> str:
    """What lies in the root, folders with a slash behind them; "" of an empty one."""
    names = []
    for path in sorted(root.iterdir()):
        if not path.name.startswith("."):
            names.append(f"{path.name}/" if path.is_dir() else path.name)
    if not names:
        return ""
    listed = list_examples(names, MAX_NAMED)
    return f", only {listed}"


def describe_findings(dataset: Dataset, findings: Sequence[Finding]) -> str:
    """All faults of a dataset as one message, those of one kind in one line."""
    count = len(findings)
    plural = "s" if count > 1 else ""
    place = f" at {dataset.root}" if dataset.root else ""
    lines = [f"dataset {dataset.name}{place}: {count} fault{plural}"]
    kinds = merge_findings(findings)
    shown = kinds[:MAX_SHOWN]
    lines += [f"  {kind}" for kind in shown]
    if len(kinds) > len(shown):
        lines.append(f"  ... and {len(kinds) - len(shown)} more kinds")
    if len(shown) < count:
        given = f" root={shlex.quote(str(dataset.root))}" if dataset.root else ""
        lines.append(f"every file: genseg data check {dataset.name}{given} --all, with what else you set of dataset")
    return "\n".join(lines)


def _take_split(dataset: Dataset, config: Mapping[str, Any]) -> list[Finding]:
    """Give the dataset its folds or the user's own split; returns what is wrong with that file."""
    if config.get("folds"):
        dataset.folds = Folds(config["folds"], config.get("fold") or 0)
    split = config.get("split") or {}
    file = split.get("file")
    if not file:
        return []
    ids = {case.id for case in dataset.cases}
    dataset.own_split, faults = read_split_file(dataset.root, file, ids)
    return faults


def _to_plain(config: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """The config as a plain dict, interpolations resolved."""
    if isinstance(config, DictConfig):
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
    else:
        plain = dict(config)
    return {"reader": "files", "mask_required": "all", **plain}
