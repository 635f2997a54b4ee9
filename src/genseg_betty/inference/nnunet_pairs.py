"""Real and synthetic pairs as two data sets of nnU-Net: the plan is made on the real pairs alone.

Synthetic pairs would change the fingerprint that nnU-Net plans by, and some would be validated on. So data set 1 holds
the real pairs, which are planned for; data set 2 holds the synthetic ones as well, which stand in `train` of its only
fold, and takes the plan of the first. All are of the size and spacing that the generator draws at.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from genseg_betty.data.preprocessing import Preprocessing
from genseg_betty.data.source.case import Sample
from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write
from genseg_betty.inference.pair_files import Pairs, keep_channels, to_intensities
from genseg_betty.nnunet.raw_dataset import RawDataset, choose_form, find_configuration

REAL, MIXED = "Dataset001_Real", "Dataset002_RealAndSynthetic"
README = """\
# Real and synthetic pairs for nnU-Net v2

`{real}` holds the {reals} real pairs that the generator's Run learned from: {train} to train on, {validation} to
validate on. `{mixed}` holds them as well, and {synthetic} synthetic pairs, which are trained on alone
(`splits_final.json`, fold 0). All have the size that the generator draws at. With nnU-Net v2 installed, in this folder:

```bash
export nnUNet_raw=$PWD/nnUNet_raw nnUNet_preprocessed=$PWD/nnUNet_preprocessed nnUNet_results=$PWD/nnUNet_results

# The plan, on the real pairs alone.
nnUNetv2_plan_and_preprocess -d 1 -c {configuration} --verify_dataset_integrity

# The same plan for the other data set. The fingerprint is only copied beside the trained network.
nnUNetv2_move_plans_between_datasets -s 1 -t 2 -sp nnUNetPlans -tp nnUNetPlansReal
nnUNetv2_extract_fingerprint -d 2 --verify_dataset_integrity
nnUNetv2_preprocess -d 2 -plans_name nnUNetPlansReal -c {configuration}

nnUNetv2_train 1 {configuration} 0                            # real pairs alone
nnUNetv2_train 2 {configuration} 0 -p nnUNetPlansReal         # with the synthetic ones
```

Without a GPU add `-device cpu` to both trainings.
"""


Case = tuple[str, np.ndarray, np.ndarray]
"""Name, intensities [*, C] and class indices [*]."""


def write_nnunet_pairs(
    out: Path,
    pairs: Pairs,
    real: Mapping[str, Sequence[Sample]],
    preprocessing: Preprocessing,
    modality: str,
) -> None:
    """Write both data sets, their folds and a README with nnU-Net's commands. Raises UserError where that fails.

    Args:
        real: the samples to "train" on and for "validation", in the training data's orientation.
        modality: of the images; with ct nnU-Net takes intensities for Hounsfield units.
    """
    try:
        _write_data_sets(out, pairs, real, preprocessing, modality)
    except OSError as error:
        raise UserError(f"Cannot write nnU-Net's data sets to {out}: {error.strerror or error}") from error


def _write_data_sets(
    out: Path, pairs: Pairs, real: Mapping[str, Sequence[Sample]], preprocessing: Preprocessing, modality: str
) -> None:
    dims, spacing = preprocessing.spatial_dims, preprocessing.spacing
    train = list(_prepare_real("train", real["train"], preprocessing))
    validation = list(_prepare_real("validation", real["validation"], preprocessing))
    cases = [*train, *validation]
    form = choose_form([image.dtype for _, image, _ in cases], preprocessing.channels, dims, modality)
    alone = RawDataset(out, REAL, form, preprocessing.classes)
    mixed = RawDataset(out, MIXED, form, preprocessing.classes)
    for case, image, mask in cases:
        alone.write_pair(case, image, mask, spacing)
        mixed.write_pair(case, image, mask, spacing)

    synthetic = []
    for case, image, mask in _prepare_synthetic(pairs, preprocessing):
        mixed.write_pair(case, image, mask, spacing)
        synthetic.append(case)

    # The validation images are the same real ones in both.
    trained = [case for case, _, _ in train]
    validated = [case for case, _, _ in validation]
    alone.describe_cases([*trained, *validated])
    alone.write_split(trained, validated)
    mixed.describe_cases([*trained, *validated, *synthetic])
    mixed.write_split([*trained, *synthetic], validated)
    text = README.format(
        real=REAL,
        mixed=MIXED,
        reals=len(cases),
        train=len(train),
        validation=len(validation),
        synthetic=len(synthetic),
        configuration=find_configuration(dims),
    )
    atomic_write(out / "README.md", text.encode())


def _prepare_real(part: str, samples: Sequence[Sample], preprocessing: Preprocessing) -> Iterator[Case]:
    """Real pairs as the segmenter saw them, in the intensities of synthetic ones."""
    for number, sample in enumerate(samples):
        assert sample.mask is not None  # the sample of a labelled case
        image = to_intensities(preprocessing.image(sample.image, sample.spacing), preprocessing)
        mask = preprocessing.mask(sample.mask, sample.spacing)
        yield f"real_{part}_{number:04}", keep_channels(image, preprocessing), mask.numpy()


def name_synthetic(number: int) -> str:
    """The name of a pair that the generator drew."""
    return f"synthetic_{number:04}"


def _prepare_synthetic(pairs: Pairs, preprocessing: Preprocessing) -> Iterator[Case]:
    """Pairs that the generator drew."""
    for number, (drawn, mask) in enumerate(pairs):
        image = to_intensities(drawn, preprocessing)
        yield name_synthetic(number), keep_channels(image, preprocessing), mask
