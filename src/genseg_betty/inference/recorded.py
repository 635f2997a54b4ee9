"""What a Run, which may come from a stranger, says of its data, held against the form that a training writes."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genseg_betty.config.checking import check_dataset_section
from genseg_betty.config.plain import require_plain, require_plain_text
from genseg_betty.config.schema import FileDatasetConfig, PhantomDatasetConfig
from genseg_betty.data.preprocessing import Preprocessing, image_size_of
from genseg_betty.device import free_memory
from genseg_betty.errors import ConfigError
from genseg_betty.run import PARTS, Run
from genseg_betty.run.checksums import damaged

LONGEST_SIDE = 4096  # pixels, as image_size may have
HIGHEST_LABEL, HIGHEST_COLOUR = 65535, 255
FLOAT_BYTES = 4
FINEST, COARSEST = 1e-6, 1e6  # mm between voxels: of electron microscopy, of no image
AXES = ("LR", "PA", "IS")  # an axis leads to one of two sides
MOST_DRAWN = 100_000  # cases of a phantom, which are listed before any is drawn
# Keys of a dataset by which files are written, other files are read, or parts are set aside.
ACTIVE = {"convert", "split", "folds", "fold", "ood", "about"}
PASSIVE = {entry.name for kind in (FileDatasetConfig, PhantomDatasetConfig) for entry in fields(kind)} - ACTIVE


@dataclass(frozen=True)
class Recorded:
    """splits.json: the case ids of each part, the dataset and its folder, and the contents of what was learned from."""

    train: list[str]
    validation: list[str]
    test: list[str]
    dataset: str
    root: Path | None
    contents: list[str]


def read_splits(run: Run) -> Recorded:
    """What the Run's splits.json says. Raises UserError where it is gone, damaged or of another form."""
    found = run.read_splits()
    try:
        contents = _texts(list(found.get("sha256", {}).values()))
        root = None if found.get("root") is None else Path(found["root"])
    except (ValueError, TypeError, AttributeError) as error:
        raise damaged(run.path / "splits.json", f"{error}; expected a root, and a SHA-256 a case") from error
    train, validation, test = (found[part] for part in PARTS)
    return Recorded(train, validation, test, str(found.get("dataset", "")), root, contents)


def read_preprocessing(checkpoint: dict[str, Any]) -> Preprocessing:
    """The preprocessing saved beside weights. Raises ValueError, KeyError or TypeError for what no training saves."""
    require_plain(checkpoint["preprocessing"])
    found = Preprocessing.from_dict(checkpoint["preprocessing"])
    _require_classes(found)
    _require_size(found)
    _require_units(found)
    return found


def _require_classes(found: Preprocessing) -> None:
    names = [name for name in found.classes if isinstance(name, str)]
    for name in names:
        require_plain_text(name)
    if not 2 <= len(names) == len(found.classes) == len(found.label_values):
        raise ValueError(f"{len(names)} named classes have {len(found.label_values)} label values; expected 2 or more")
    colours = found.colours
    levels = [level for colour in colours for level in colour] if colours else list(found.label_values)
    highest = HIGHEST_COLOUR if colours else HIGHEST_LABEL
    if not all(type(level) is int and 0 <= level <= highest for level in levels):
        raise ValueError(f"label values are {levels[:8]}; expected whole numbers from 0 to {highest}")
    if colours and (len(colours) < len(names) or any(len(colour) != 3 for colour in colours)):
        raise ValueError(f"label values are {list(found.label_values)[:8]}; expected a colour for each class")


def _require_size(found: Preprocessing) -> None:
    """Raise ValueError for an input that memory does not hold once for each class."""
    size = image_size_of(found.image_size)
    if max(size) > LONGEST_SIDE:
        raise ValueError(f"image_size is {list(size)}; expected sides of at most {LONGEST_SIDE}")
    if type(found.channels) is not int or found.channels not in (1, 3):
        raise ValueError(f"channels is {found.channels}; expected 1 or 3")
    needed, free = math.prod(size) * found.num_classes * FLOAT_BYTES, free_memory("cpu")
    if needed > free:
        raise ValueError(
            f"image_size is {list(size)}, which for {found.num_classes} classes takes {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB of memory are free"
        )


def _require_units(found: Preprocessing) -> None:
    """Raise ValueError for units of intensities or of space by which nothing can be computed."""
    for name, window in (("intensity", found.intensity), ("scale", found.scale)):
        if window is not None and not (len(window) == 2 and -math.inf < window[0] < window[1] < math.inf):
            raise ValueError(f"{name} is {window}; expected a lower and a higher finite number")
    spacing, orientation = found.spacing, found.orientation
    if spacing is not None and (
        len(spacing) != found.spatial_dims or not all(FINEST <= step <= COARSEST for step in spacing)
    ):
        expected = f"{found.spatial_dims} numbers of mm, {FINEST:g} to {COARSEST:g}"
        raise ValueError(f"spacing is {spacing}; expected {expected}")
    if orientation is not None:
        axes = [axis for axis in AXES if len(set(orientation) & set(axis)) == 1]
        if len(axes) != found.spatial_dims or len(orientation) != found.spatial_dims:
            raise ValueError(f"orientation is {orientation!r}; expected a letter for each axis, such as LPS")


def passive_dataset(run: Run, root: Path | None = None) -> DictConfig:
    """The Run's `dataset` section for reading masks alone, below `root` if given: nothing is converted or written.

    Raises UserError for a section of another form.
    """
    section = run.config.get("dataset")
    values = OmegaConf.to_container(section) if isinstance(section, DictConfig) else section
    if isinstance(values, dict):
        values = {key: value for key, value in values.items() if key in PASSIVE}
        values |= {"root": str(root)} if root else {}
    problems: list[str] = []
    checked = check_dataset_section(values, problems)
    if not problems and checked.get("count", 0) > MOST_DRAWN:
        problems.append(f"dataset.count={checked['count']}: expected at most {MOST_DRAWN}")
    if problems:
        raise ConfigError(problems, f"in {run.path / 'config.yaml'}")
    return OmegaConf.create(checked)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("it holds something else than texts in its lists")
    return value
