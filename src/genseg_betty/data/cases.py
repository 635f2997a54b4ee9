"""A dataset YAML and a root folder become a Dataset: its labelled cases, classes and fixed test part."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from genseg_betty.data.files import Finding
from genseg_betty.data.formats import ImageError, content_digest, mismatch, read_image, read_mask
from genseg_betty.data.labels import LabelMap
from genseg_betty.data.pairing import case_group, case_ids, layout, pair
from genseg_betty.errors import UserError

TEST_SHARE = 0.3  # of the cases, by group, where the publisher has set no test part aside
MAX_SHOWN = 100  # faults listed in one error message


@dataclass(frozen=True)
class Sample:
    """One image and its mask, at the file's own size."""

    image: np.ndarray  # [H, W, C] float32, raw file intensities (8-bit: 0..255, 16-bit: 0..65535)
    mask: np.ndarray | None  # [H, W] int64, class indices 0..num_classes-1


@dataclass(frozen=True)
class Case:
    """One labelled image, the masks whose union is its truth, and the group it must stay with."""

    id: str
    image: Path
    masks: tuple[Path, ...]
    group: str
    dataset: str


@dataclass
class Dataset:
    """The labelled cases of a dataset, sorted by id, and how to read them."""

    name: str
    root: Path | None
    cases: list[Case]
    unlabelled: list[Path]
    labels: LabelMap
    metric: str
    published_test: frozenset[str] = field(default=frozenset())  # ids; empty where nothing is published

    @classmethod
    def empty(cls, name: str) -> "Dataset":
        """A dataset of that name without cases."""
        return cls(name, None, [], [], LabelMap.declared(None, None), "dice")

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; class 0 is the background."""
        return self.labels.classes

    @cached_property
    def label_values(self) -> tuple[int, ...]:
        """The file value of each class; undeclared binary masks are looked at for 0/1 or 0/255."""
        return self.label_values_of(self.cases)

    def label_values_of(self, cases: Iterable[Case]) -> tuple[int, ...]:
        """`label_values` as the first of these cases with a foreground has them."""
        if self.labels.lookup is None:
            for case in cases:
                try:
                    highest = max(int(read_mask(path).max()) for path in case.masks)
                except ImageError:
                    continue  # told by the check
                if highest > 0:
                    return (0, 1) if highest == 1 else (0, 255)
        return self.labels.values

    def load(self, case: Case) -> Sample:
        """Read a case; several masks are united, the higher class above the lower. Raises UserError."""
        path = case.image
        try:
            image = read_image(path)
            masks = []
            for path in case.masks:
                masks.append(self.labels.decode(read_mask(path))[0])
                if masks[-1].shape != image.shape[:2]:
                    raise ImageError("size_mismatch", mismatch(masks[-1].shape, image.shape[:2]))
        except ImageError as error:
            raise UserError(f"{self.name}: {path}: {error}") from error
        return Sample(image, np.maximum.reduce(masks))

    def digest(self, case: Case) -> bytes:
        """A hash of the case's contents."""
        files = (case.image, *case.masks)
        return hashlib.sha256(b"".join(content_digest(path) for path in files)).digest()

    def test_ids(self) -> list[str]:
        """The fixed test part: the published one, or groups in an order of their own up to 30 % of the cases.

        It depends on neither the run's seed nor n_labelled; at least one group is in it and one is left.
        """
        if self.published_test:
            return sorted(self.published_test)
        sizes = Counter(case.group for case in self.cases)
        target = max(1, round(TEST_SHARE * len(self.cases)))
        chosen: set[str] = set()
        taken = 0
        for group in shuffled(sizes, "test"):
            if taken + sizes[group] <= target:
                chosen.add(group)
                taken += sizes[group]
        if not chosen and len(sizes) > 1:  # every group is larger than the target
            chosen = {min(sorted(sizes), key=lambda group: sizes[group])}
        return [case.id for case in self.cases if case.group in chosen]


@dataclass
class PhantomDataset(Dataset):
    """Cases drawn when they are loaded; nothing lies on disk."""

    recipe: Mapping[str, Any] = field(default_factory=dict)  # kind, domain, size, seed

    def load(self, case: Case) -> Sample:
        """Draw a case; the same recipe and case give the same arrays."""
        from genseg_betty.data.phantom import render  # phantom.py builds on Sample above

        return render(**self.recipe, index=int(case.image.name))

    def label_values_of(self, cases: Iterable[Case]) -> tuple[int, ...]:
        """Phantoms have no files; their masks are written with 0 and 255."""
        return self.labels.values

    def digest(self, case: Case) -> bytes:
        """A hash of the case's arrays."""
        sample = self.load(case)
        assert sample.mask is not None
        return hashlib.sha256(sample.image.tobytes() + sample.mask.tobytes()).digest()


def shuffled(names: Iterable[str], salt: str | int) -> list[str]:
    """A seeded order that no library's generator can change and that adding a name leaves as it was."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).digest())


def resolve_root(config: Mapping[str, Any] | DictConfig) -> Path:
    """The dataset's folder: its `root`, else ${GENSEG_DATA}/<name>, else data/<name>. Raises UserError."""
    plain = _plain(config)
    name = plain["name"]
    if plain.get("root"):
        places = [Path(plain["root"]).expanduser()]
    else:
        base = os.environ.get("GENSEG_DATA")
        places = ([Path(base).expanduser() / name] if base else []) + [Path("data") / name]
    for place in places:
        if place.is_dir():
            return place.absolute()
    source = (plain.get("about") or {}).get("source") if name != "folder" else None
    source = f" The data: {source}" if source else ""
    looked = " and ".join(str(place.absolute()) for place in places)
    raise UserError(
        f"dataset {name}: no folder at {looked}.\n{layout(plain)}\n"
        "Give the folder with dataset.root=DIR (`genseg data` and `genseg evaluate`: root=DIR), "
        f"or set GENSEG_DATA to the folder that holds {name}/.{source}"
    )


def open_dataset(config: Mapping[str, Any] | DictConfig) -> Dataset:
    """Build the Dataset that a dataset YAML describes.

    Raises UserError, with every pairing fault in it, where the root or masks are missing.
    """
    dataset, findings = scan_dataset(config)
    if findings:
        raise UserError(describe(dataset, findings))
    return dataset


def scan_dataset(config: Mapping[str, Any] | DictConfig) -> tuple[Dataset, list[Finding]]:
    """As `open_dataset`, but the faults come back beside the cases that are sound. No pixel is read."""
    plain = _plain(config)
    if plain["reader"] == "phantom":
        return _phantom(plain), []
    if plain["reader"] != "files":
        raise UserError(f"dataset {plain['name']}: reader is {plain['reader']!r}; expected files or phantom")
    root = resolve_root(plain)
    labels = LabelMap.declared(plain.get("labels"), plain.get("foreground"))
    paired = pair(root, plain)
    files = paired.tree.files
    ids = case_ids(list(paired.masks))
    cases = [
        Case(
            ids[name],
            files[name],
            tuple(files[mask] for mask in masks),
            case_group(plain.get("group"), name, ids[name]),
            plain["name"],
        )
        for name, masks in paired.masks.items()
    ]
    published = (plain.get("split") or {}).get("test") or ()
    test = {name for pattern in published for name in paired.tree.match(pattern)}
    dataset = Dataset(
        plain["name"],
        root,
        sorted(cases, key=lambda case: case.id),
        [files[name] for name in paired.unlabelled],
        labels,
        plain.get("metric") or "dice",
        frozenset(ids[name] for name in paired.masks if name in test),
    )
    findings = paired.findings
    if not cases and not findings:
        findings.append(Finding("too_few", ".", f"holds no image with its mask. {layout(plain)}"))
    return dataset, findings


def describe(dataset: Dataset, findings: Sequence[Finding]) -> str:
    """All faults of a dataset as one message."""
    count = f"{len(findings)} fault{'s' if len(findings) > 1 else ''}"
    place = f" at {dataset.root}" if dataset.root else ""
    lines = [f"dataset {dataset.name}{place}: {count}"]
    lines += [f"  {finding}" for finding in findings[:MAX_SHOWN]]
    if len(findings) > MAX_SHOWN:
        lines.append(f"  ... and {len(findings) - MAX_SHOWN} more: `genseg data check` lists them all")
    return "\n".join(lines)


def _phantom(config: Mapping[str, Any]) -> Dataset:
    kind, domain = config["kind"], config["domain"]
    names = [f"{kind}_{domain}_{index:04d}" for index in range(config["count"])]
    folder = Path("phantom", kind, domain)
    cases = [Case(name, folder / str(index), (), name, config["name"]) for index, name in enumerate(names)]
    recipe = {key: config[key] for key in ("kind", "domain", "size", "seed")}
    labels = LabelMap.declared(None, None)
    return PhantomDataset(config["name"], None, cases, [], labels, config.get("metric") or "dice", recipe=recipe)


def _plain(config: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """The config as a plain dict, interpolations resolved."""
    plain = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else dict(config)
    assert isinstance(plain, dict)
    return {"reader": "files", "mask_required": "all", **plain}
