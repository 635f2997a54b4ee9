"""A dataset YAML and a root folder become a Dataset."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.data.convert import Converted, convert
from genseg_betty.data.formats import split_name
from genseg_betty.data.inspect.diagnosis import diagnose, find_elsewhere
from genseg_betty.data.inspect.group_hint import group_hint
from genseg_betty.data.scale import Scale
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset, PhantomDataset
from genseg_betty.data.source.files import Finding, merge_findings
from genseg_betty.data.source.folds import Folds
from genseg_betty.data.source.groups import case_ids
from genseg_betty.data.source.labels import LabelMap
from genseg_betty.data.source.pairing import Pairing, layout, pair_files
from genseg_betty.data.split.split_file import read_split_file
from genseg_betty.data.split.test_part import take_test_part
from genseg_betty.errors import UserError
from genseg_betty.faults import list_examples

MAX_SHOWN = 40  # kinds of faults listed in one error message
MAX_NAMED = 8  # files of a folder named in one error message


def resolve_root(config: Mapping[str, Any] | DictConfig) -> Path:
    """The dataset's folder: its `root`, else ${GENSEG_DATA}/<name>, else data/<name>. Raises UserError."""
    plain = _plain(config)
    name = plain["name"]
    if plain.get("root"):
        places = [Path(plain["root"]).expanduser()]
    else:
        base = data_folder()
        places = ([base / name] if base else []) + [Path("data") / name]
    for place in places:
        if os.path.isdir(place):  # False, too, of a name that is too long, or in a folder that one may not enter
            return place.absolute()
    about = plain.get("about") or {}
    has_publisher = about.get("fetch") or about.get("steps")
    source = f" Where the data come from: genseg data fetch {name}" if has_publisher else ""
    looked = " and ".join(f"{place.absolute()}{' (a file)' if os.path.isfile(place) else ''}" for place in places)
    raise UserError(
        f"dataset {name}: no folder at {looked}.\n{layout(plain)}\n"
        "Give the folder with dataset.root=DIR (`genseg data` and `genseg evaluate`: root=DIR), "
        f"or set GENSEG_DATA to the folder that holds {name}/.{source}"
    )


def data_folder() -> Path | None:
    """The folder of all datasets, $GENSEG_DATA. Raises UserError where that lies with a user who has no home."""
    text = os.environ.get("GENSEG_DATA")
    try:
        return Path(text).expanduser() if text else None
    except RuntimeError:
        raise UserError(f"GENSEG_DATA is {text!r}, and there is no such user; expected the path of a folder") from None


def require_root(config: Mapping[str, Any] | DictConfig) -> None:
    """Raise UserError for a dataset that is read from files and whose folder is not there."""
    if _plain(config)["reader"] == "files":
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
    plain = _plain(config)
    if plain["reader"] == "phantom":
        dataset: Dataset = _phantom(plain)
        return dataset, _take_split(dataset, plain)
    if plain["reader"] != "files":
        raise UserError(f"dataset {plain['name']}: reader is {plain['reader']!r}; expected files or phantom")
    root = resolve_root(plain)
    converted = convert(plain["convert"], root) if plain.get("convert") and converting else Converted(root)
    paired = pair_files(root, plain)
    findings = [*converted.findings, *diagnose(plain, paired.findings, len(paired.masks), root)]
    dataset = _from_files(root, plain, paired)
    notes = take_test_part(dataset, plain, paired, findings)
    dataset.notes = [*converted.notes, *notes, *paired.notes]
    dataset.notes += _group_note(dataset, plain)
    if dataset.cases and dataset.unlabelled:
        dataset.notes.append(f"{len(dataset.unlabelled)} images have no mask and count as unlabelled data")
    if not dataset.cases and not findings:
        message = f"holds no image with its mask{_content(root)}. {find_elsewhere(root, plain) or layout(plain)}"
        findings.append(Finding("too_few", ".", message))
    return dataset, findings + _take_split(dataset, plain)


def _group_note(dataset: Dataset, config: Mapping[str, Any]) -> list[str]:
    """What the names say of patients, where neither a group nor a split of the user's own does."""
    split = config.get("split") or {}
    if config.get("group") or config.get("group_starts") or split.get("file") or split.get("test_groups"):
        return []
    stems = {dataset.path_below(case.image): split_name(case.image.name)[0] for case in dataset.cases}
    hint = group_hint(stems)
    return [hint] if hint else []


def _content(root: Path) -> str:
    """What lies in the root, folders with a slash behind them; "" of an empty one."""
    paths = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    names = [f"{path.name}/" if path.is_dir() else path.name for path in paths]
    return f", only {list_examples(names, MAX_NAMED)}" if names else ""


def describe_findings(dataset: Dataset, findings: Sequence[Finding]) -> str:
    """All faults of a dataset as one message, those of one kind in one line."""
    count = f"{len(findings)} fault{'s' if len(findings) > 1 else ''}"
    place = f" at {dataset.root}" if dataset.root else ""
    lines = [f"dataset {dataset.name}{place}: {count}"]
    kinds = merge_findings(findings)
    lines += [f"  {kind}" for kind in kinds[:MAX_SHOWN]]
    if len(kinds) > MAX_SHOWN:
        lines.append(f"  ... and {len(kinds) - MAX_SHOWN} more kinds")
    if len(kinds[:MAX_SHOWN]) < len(findings):
        lines.append("every file: genseg data check … --all")
    return "\n".join(lines)


def _from_files(root: Path, config: Mapping[str, Any], paired: Pairing) -> Dataset:
    """The labelled cases."""
    labels = LabelMap.declared(*(config.get(key) for key in ("labels", "foreground", "classes", "threshold")))
    files, names = paired.tree.files, list(paired.masks)
    ids = case_ids(names)
    groups = {**ids, **paired.groups}
    cases = [
        Case(ids[name], files[name], tuple(files[mask] for mask in masks), groups[name], config["name"])
        for name, masks in paired.masks.items()
    ]
    return Dataset(
        config["name"],
        root,
        sorted(cases, key=lambda case: case.id),
        [files[name] for name in paired.unlabelled],
        labels,
        config.get("metric") or "dice",
        scaled_masks=bool(config.get("scaled_masks")),
        range=_scale_of(config),
        published_split=bool((config.get("split") or {}).get("published")),
        copies=config.get("copies"),
    )


def _scale_of(config: Mapping[str, Any]) -> Scale | None:
    """The declared `range`. Raises UserError unless white is above black."""
    given = config.get("range")
    if not given:
        return None
    black, white = map(float, given)
    if not black < white:
        raise UserError(f"dataset.range is [{black:g}, {white:g}]; expected [black, white], white above black")
    return black, white


def _phantom(config: Mapping[str, Any]) -> Dataset:
    kind, domain = config["kind"], config["domain"]
    names = [f"{kind}_{domain}_{index:04d}" for index in range(config["count"])]
    folder = Path("phantom", kind, domain)
    cases = [Case(name, folder / str(index), (), name, config["name"]) for index, name in enumerate(names)]
    recipe = {key: config[key] for key in ("kind", "domain", "size", "seed")}
    labels = LabelMap.declared(None, None)
    return PhantomDataset(config["name"], None, cases, [], labels, config.get("metric") or "dice", recipe=recipe)


def _take_split(dataset: Dataset, config: Mapping[str, Any]) -> list[Finding]:
    """Give the dataset its folds or the user's own split; returns what is wrong with that file."""
    if config.get("folds"):
        dataset.folds = Folds(config["folds"], config.get("fold") or 0)
    file = (config.get("split") or {}).get("file")
    if not file:
        return []
    dataset.own_split, faults = read_split_file(dataset.root, file, {case.id for case in dataset.cases})
    return faults


def _plain(config: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """The config as a plain dict, interpolations resolved."""
    plain = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else dict(config)
    assert isinstance(plain, dict)
    return {"reader": "files", "mask_required": "all", **plain}
