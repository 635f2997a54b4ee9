"""Reads what a Run says of its data. A Run may come from a stranger, so each value is checked first."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.config.checking import check_dataset_section
from genseg_betty.config.plain import require_plain, require_plain_text
from genseg_betty.config.schema import FileDatasetConfig, PhantomDatasetConfig
from genseg_betty.data.preprocessing import Preprocessing, image_size_of
from genseg_betty.device import free_memory, write_gib
from genseg_betty.errors import ConfigError
from genseg_betty.run import Run
from genseg_betty.run.checksums import explain_damage
from genseg_betty.run.run_files import PARTS

LONGEST_SIDE = 4096  # pixels, as image_size may have
HIGHEST_LABEL, HIGHEST_COLOUR = 65535, 255
FLOAT_BYTES = 4
FINEST, COARSEST = 1e-6, 1e6  # mm between voxels: finer than electron microscopy, coarser than any image
AXES = ("LR", "PA", "IS")  # the two sides of each axis
MOST_DRAWN = 100_000  # cases of a phantom, which are listed before any is drawn
# These keys of a dataset write files, read other files or set parts aside; reading masks needs none of them.
ACTIVE = {"convert", "split", "folds", "fold", "ood", "about"}
ALL_KEYS = [entry.name for entry in (*fields(FileDatasetConfig), *fields(PhantomDatasetConfig))]
PASSIVE = set(ALL_KEYS) - ACTIVE


@dataclass(frozen=True)
class Recorded:
    """splits.json: the case ids of each part, the dataset and its folder, and the contents of what was learned from."""

    train: list[str]
    validation: list[str]
    test: list[str]
    unlabelled: list[str]
    dataset: str
    root: Path | None
    contents: list[str]


def read_splits(run: Run) -> Recorded:
    """Read the Run's splits.json. Raises UserError if it is gone, damaged or of another form."""
    found = run.read_splits()
    root = found.get("root")
    try:
        digests = found.get("sha256", {})
        contents = _require_texts(list(digests.values()))
        unlabelled = _require_texts(found.get("unlabelled", []))
        root = None if root is None else Path(root)
    except (ValueError, TypeError, AttributeError) as error:
        fault = f"{error}; expected a root, and a SHA-256 a case"
        raise explain_damage(run.path / "splits.json", fault) from error
    train, validation, test = (found[part] for part in PARTS)
    return Recorded(
        train=train,
        validation=validation,
        test=test,
        unlabelled=unlabelled,
        dataset=str(found.get("dataset", "")),
        root=root,
        contents=contents,
    )


def read_preprocessing(checkpoint: dict[str, Any]) -> Preprocessing:
    """Read the preprocessing saved beside weights.

    Raises ValueError, KeyError or TypeError for what no training saves.
    """
    saved = checkpoint["preprocessing"]
    require_plain(saved)
    found = Preprocessing.from_dict(saved)
    _require_classes(found)
    _require_label_values(found)
    _require_size(found)
    _require_windows(found)
    _require_spacing(found)
    _require_orientation(found)
    return found


def _require_classes(found: Preprocessing) -> None:
    """Raise ValueError unless there are two named classes or more, each with a label value."""
    names = [name for name in found.classes if isinstance(name, str)]
    for name in names:
        require_plain_text(name)
    named = len(names)
    valued = len(found.label_values)
    if not 2 <= named == len(found.classes) == valued:
        raise ValueError(f"{named} named classes have {valued} label values; expected 2 or more")


def _require_label_values(found: Preprocessing) -> None:
    """Raise ValueError unless each class has a whole number or a colour that a mask file can hold."""
    highest = HIGHEST_LABEL
    levels: list[Any] = list(found.label_values)
    if found.colours:
        highest = HIGHEST_COLOUR
        levels = [level for colour in found.colours for level in colour]
    for level in levels:
        if type(level) is not int or not 0 <= level <= highest:
            raise ValueError(f"label values are {levels[:8]}; expected whole numbers from 0 to {highest}")
    if not found.colours:
        return
    has_three_levels = [len(colour) == 3 for colour in found.colours]
    if len(found.colours) < len(found.classes) or not all(has_three_levels):
        first = list(found.label_values)[:8]
        raise ValueError(f"label values are {first}; expected a colour for each class")


def _require_size(found: Preprocessing) -> None:
    """Raise ValueError for an input that memory does not hold once for each class."""
    size = image_size_of(found.image_size)
    shown = list(size)
    if max(size) > LONGEST_SIDE:
        raise ValueError(f"image_size is {shown}; expected sides of at most {LONGEST_SIDE}")
    if type(found.channels) is not int or found.channels not in (1, 3):
        raise ValueError(f"channels is {found.channels}; expected 1 or 3")
    needed = math.prod(size) * found.num_classes * FLOAT_BYTES
    free = free_memory("cpu")
    if needed > free:
        raise ValueError(
            f"image_size is {shown}, which for {found.num_classes} classes takes {write_gib(needed)}, and "
            f"{write_gib(free)} of memory are free"
        )


def _require_windows(found: Preprocessing) -> None:
    """Raise ValueError for a range of intensities that has no lower and higher end."""
    windows = {"intensity": found.intensity, "scale": found.scale}
    for name, window in windows.items():
        if window is None:
            continue
        if len(window) != 2 or not -math.inf < window[0] < window[1] < math.inf:
            raise ValueError(f"{name} is {window}; expected a lower and a higher finite number")


def _require_spacing(found: Preprocessing) -> None:
    """Raise ValueError for distances between voxels that no image has."""
    if found.spacing is None:
        return
    dims = found.spatial_dims
    expected = f"{dims} numbers of mm, {FINEST:g} to {COARSEST:g}"
    possible = [FINEST <= step <= COARSEST for step in found.spacing]
    if len(possible) != dims or not all(possible):
        raise ValueError(f"spacing is {found.spacing}; expected {expected}")


def _require_orientation(found: Preprocessing) -> None:
    """Raise ValueError for an orientation that does not name one side of each axis."""
    orientation = found.orientation
    if orientation is None:
        return
    named_once = [axis for axis in AXES if len(set(axis) & set(orientation)) == 1]
    if not len(named_once) == len(orientation) == found.spatial_dims:
        raise ValueError(f"orientation is {orientation!r}; expected a letter for each axis, such as LPS")


def passive_dataset(run: Run, root: Path | None = None) -> DictConfig:
    """The Run's `dataset` section for reading masks alone, below `root` if given: nothing is converted or written.

    Raises UserError for a section of another form.
    """
    section = run.config.get("dataset")
    values = OmegaConf.to_container(section) if isinstance(section, DictConfig) else section
    if isinstance(values, dict):
        values = {key: value for key, value in values.items() if key in PASSIVE}
        if root:
            values["root"] = str(root)
    problems: list[str] = []
    checked = check_dataset_section(values, problems)
    count = checked.get("count", 0)
    if not problems and count > MOST_DRAWN:
        problems.append(f"dataset.count={count}: expected at most {MOST_DRAWN}")
    if problems:
        raise ConfigError(problems, f"in {run.path / 'config.yaml'}")
    return OmegaConf.create(checked)


def _require_texts(value: Any) -> list[str]:
    """Return the list; raises ValueError for anything but a list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("it holds something else than texts in its lists")
    return value
