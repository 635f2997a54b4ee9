"""The cases of a dataset YAML, read from files or drawn, as a Dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genseg_betty.data.scale import Scale
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset, PhantomDataset
from genseg_betty.data.source.groups import case_ids
from genseg_betty.data.source.labels import LabelMap
from genseg_betty.data.source.pairing import Pairing
from genseg_betty.errors import UserError


def build_from_files(root: Path, config: Mapping[str, Any], paired: Pairing) -> Dataset:
    """The dataset of the images that were paired with masks."""
    labels = LabelMap.declared(
        labels=config.get("labels"),
        foreground=config.get("foreground"),
        classes=config.get("classes"),
        threshold=config.get("threshold"),
    )

    # Keys that the YAML leaves out have the defaults of a folder of images of one kind.
    split = config.get("split") or {}
    files = paired.tree.files
    return Dataset(
        name=config["name"],
        root=root,
        cases=_build_cases(config["name"], paired),
        unlabelled=[files[name] for name in paired.unlabelled],
        labels=labels,
        metric=config.get("metric") or "dice",
        scaled_masks=bool(config.get("scaled_masks")),
        range=_read_scale(config),
        published_split=bool(split.get("published")),
        copies=config.get("copies"),
    )


def _build_cases(dataset_name: str, paired: Pairing) -> list[Case]:
    """The labelled cases, sorted by id; an image without a group is a group of its own."""
    files = paired.tree.files
    ids = case_ids(list(paired.masks))
    cases = []
    for name, masks in paired.masks.items():
        case = Case(
            id=ids[name],
            image=files[name],
            masks=tuple(files[mask] for mask in masks),
            group=paired.groups.get(name, ids[name]),
            dataset=dataset_name,
        )
        cases.append(case)
    return sorted(cases, key=lambda case: case.id)


def _read_scale(config: Mapping[str, Any]) -> Scale | None:
    """The declared `range`. Raises UserError unless white is above black."""
    given = config.get("range")
    if not given:
        return None
    black, white = map(float, given)
    if not black < white:
        raise UserError(f"dataset.range is [{black:g}, {white:g}]; expected [black, white], white above black")
    return black, white


def build_phantom(config: Mapping[str, Any]) -> Dataset:
    """A dataset of cases that are drawn when they are loaded; a case's path ends in its number."""
    kind = config["kind"]
    domain = config["domain"]
    folder = Path("phantom", kind, domain)
    cases = []
    for index in range(config["count"]):
        name = f"{kind}_{domain}_{index:04d}"
        image = folder / str(index)
        cases.append(Case(name, image, masks=(), group=name, dataset=config["name"]))
    return PhantomDataset(
        name=config["name"],
        root=None,
        cases=cases,
        unlabelled=[],
        labels=LabelMap.declared(None, None),
        metric=config.get("metric") or "dice",
        recipe={key: config[key] for key in ("kind", "domain", "size", "seed")},
    )
