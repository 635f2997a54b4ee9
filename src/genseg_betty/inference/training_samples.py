"""The cases that a Run was trained on, read again."""

import sys
from collections.abc import Sequence

from omegaconf import DictConfig

from genseg_betty.data.cases import open_dataset
from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.source.case import Sample
from genseg_betty.errors import UserError
from genseg_betty.inference.recorded import passive_dataset, read_splits
from genseg_betty.run import Run
from genseg_betty.terminal import say


def read_training_samples(run: Run, preprocessing: Preprocessing, parts: Sequence[str]) -> dict[str, list[Sample]]:
    """The cases of these parts in the training data's orientation, read again from what the Run was trained on.

    Where they lie is for the Run to say, so the screen tells it; nothing is read outside of that folder.
    """
    splits = read_splits(run)
    root = splits.root if splits.root and splits.root.is_dir() else None
    config = passive_dataset(run, root)
    if config.root:
        say(f"masks: those that the Run was trained on, from {config.root} as it says", file=sys.stderr)
    found = {}
    try:
        for part in parts:
            samples = _read_cases(config, getattr(splits, part))
            found[part] = [sample.in_orientation(preprocessing.orientation) for sample in samples]
    except UserError as error:
        raise UserError(
            f"Generating needs the masks that the Run at {run.path} was trained on, and they are gone from "
            f"{splits.root or 'their folder'}: put them back there, or point $GENSEG_DATA at them.\n"
            f"{error}"
        ) from error
    return found


def _read_cases(config: DictConfig, ids: list[str]) -> list[Sample]:
    """Read the cases of these ids; raises UserError where a case is missing or cannot be read."""
    dataset = open_dataset(config)
    cases = {case.id: case for case in dataset.cases}
    missing = [name for name in ids if name not in cases]
    if missing or not ids:
        raise UserError(f"missing cases: {', '.join(missing) or 'splits.json names none'}")
    return [dataset.load(cases[name]) for name in ids]
