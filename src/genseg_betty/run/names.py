"""What the rows of metrics.csv are called: the one place for those who write them and those who read them.

A row is `step,phase,name,value`. The step counts all steps of the engine, those of the warm-up among them.

================  =====================  ================================================  ==========================
phase             name                   value                                             written by
================  =====================  ================================================  ==========================
a training phase  a level                the level's loss at this step                     training/loop.py, every
                                                                                           LOG_EVERY steps
validation        dice, jaccard          mean over the validation images, 0 to 1           training/validation.py
validation        loss                   the segmenter's loss on the validation images     training/validation.py
architecture      half.cell.operation    α of an operation of a searched cell, 0 to 1      training/validation.py
architecture      gradient_norm          Euclidean norm of the last hypergradient          training/validation.py
system            seconds                seconds trained so far, before a resume as well   training/validation.py
system            memory_bytes           most bytes of memory held so far                  training/validation.py
system            skipped_<level>        steps not made so far: loss or gradient was not   training/validation.py
                                         finite
================  =====================  ================================================  ==========================

A method's plan names its training phases. A level has the name of its network and of its section of
`trainer.optimizers`; the counts of skipped steps in status.json and results.json are by these names too.
"""

import re
from dataclasses import dataclass
from typing import Self

# Phases in which levels step. Their rows are losses.
WARMUP_PHASE = "warmup"  # stage I alone
JOINT_PHASE = "joint"  # all three stages
SEGMENTATION_PHASE = "segmentation"  # the segmenter alone

# Phases that are no training: what is measured at each validation.
VALIDATION_PHASE = "validation"
ARCHITECTURE_PHASE = "architecture"
SYSTEM_PHASE = "system"
MEASURED_PHASES = (VALIDATION_PHASE, ARCHITECTURE_PHASE, SYSTEM_PHASE)

# Levels. The name of each is that of its loss.
DISCRIMINATOR = "discriminator"
GENERATOR = "generator"
SEGMENTER = "segmenter"
ARCHITECTURE = "architecture"

# Metrics of the phase `validation`. The scores of test sets have the same names.
DICE = "dice"
JACCARD = "jaccard"
SCORES = (DICE, JACCARD)
LOSS = "loss"

# Further scores of test sets, in tables of cases and results.json. `metrics/` says what each is.
PRECISION = "precision"
RECALL = "recall"
HD95 = "hd95"
ASSD = "assd"
SURFACE_DICE = "surface_dice"
SURFACE_SCORES = (HD95, ASSD, SURFACE_DICE)
TEST_SCORES = (*SCORES, PRECISION, RECALL, *SURFACE_SCORES)

# What else results.json says of a test set.
CASES = "cases"
DISTANCE_UNIT = "distance_unit"
SURFACE_TOLERANCE = "surface_tolerance"
UNDEFINED_DISTANCES = "undefined_distances"
CLASSES = "classes"
CONSTANT = "constant_prediction"
"""Only where every prediction of a test set is one class from edge to edge, the same in all: the name of that class."""
BACKGROUND = "background"

# Metrics of the phase `architecture`, beside those that `AlphaName` names.
GRADIENT_NORM = "gradient_norm"

# Metrics of the phase `system`, beside those that `name_skipped` names.
SECONDS = "seconds"
MEMORY_BYTES = "memory_bytes"
SKIPPED_PREFIX = "skipped_"


def name_skipped(level: str) -> str:
    """The metric that counts the skipped steps of a level."""
    return f"{SKIPPED_PREFIX}{level}"


@dataclass(frozen=True)
class AlphaName:
    """The metric of one operation's α: `up.3.upconv_823`.

    Args:
        half: `down` for the encoder, `up` for the decoder.
        cell: the number of the cell in its half, from 0, as it is written.
        operation: the operation as the generator names it.
    """

    half: str
    cell: str
    operation: str

    def __str__(self) -> str:
        return f"{self.half}.{self.cell}.{self.operation}"

    @classmethod
    def parse_metric(cls, name: str) -> Self | None:
        """The parts of a metric's name; None for a metric that is no α."""
        found = re.fullmatch(r"(down|up)\.(\d{1,3})\.(\w+)", name)
        return cls(*found.groups()) if found else None
