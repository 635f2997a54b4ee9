"""What each key of a config means to a Run: to its name, to its resume, and to the reports that compare it.

A row holds for its key and for all keys below it that have no row of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

OnResume = Literal["fixed", "grows", "until_tested", "free"]


@dataclass(frozen=True)
class KeyRole:
    """The part that a key has in a Run.

    Args:
        names_run: a changed value has a part in the hash at the end of the Run's name.
        on_resume: how the value may change when the Run is continued. `fixed`: not at all. `grows`: to a higher
            number. `until_tested`: in any way, as long as no test set has been scored. `free`: in any way.
        separates_methods: reports take two Runs with different values for different methods.
    """

    names_run: bool
    on_resume: OnResume
    separates_methods: bool


METHOD = KeyRole(names_run=True, on_resume="fixed", separates_methods=True)
DESCRIPTION = KeyRole(names_run=True, on_resume="fixed", separates_methods=False)
CONVENIENCE = KeyRole(names_run=True, on_resume="free", separates_methods=False)
TEST_SET = KeyRole(names_run=True, on_resume="until_tested", separates_methods=False)
PLACE = KeyRole(names_run=False, on_resume="free", separates_methods=False)

ROLES: Mapping[str, KeyRole] = {
    # What is trained, on what, and how.
    "dataset": METHOD,
    "backbone": METHOD,
    "second_backbone": METHOD,
    "generator": METHOD,
    "method": METHOD,
    "augment": METHOD,
    "unlabelled": METHOD,
    "copy_paste": METHOD,
    "trainer": METHOD,
    "image_size": METHOD,
    "precision": METHOD,
    "hypergradient": METHOD,
    "precondition": METHOD,
    "arch_every": METHOD,
    "trainer.iterations": KeyRole(names_run=True, on_resume="grows", separates_methods=True),
    # How the steps are executed; a Run may go on where CUDA graphs cannot be captured.
    "graphs": KeyRole(names_run=True, on_resume="free", separates_methods=True),
    # It says who made the split, not which cases are in it.
    "dataset.split.published": KeyRole(names_run=True, on_resume="free", separates_methods=True),
    # Both numbers stand in the Run's name, in the open. Reports average over seeds.
    "dataset.n_labelled": KeyRole(names_run=False, on_resume="fixed", separates_methods=True),
    "seed": KeyRole(names_run=False, on_resume="fixed", separates_methods=False),
    # Datasets that are only tested on, at the end of the training.
    "ood": TEST_SET,
    "dataset.ood": TEST_SET,
    # Where the data lie, what they are called, and what a training starts from.
    "dataset.root": DESCRIPTION,
    "dataset.title": DESCRIPTION,
    "dataset.task": DESCRIPTION,
    "dataset.modality": DESCRIPTION,
    "dataset.about": DESCRIPTION,
    "trainer.name": DESCRIPTION,
    "trainer.warm_start": DESCRIPTION,
    # Where a Run runs, and what it writes on the way.
    "name": CONVENIENCE,
    "device": CONVENIENCE,
    "logger": CONVENIENCE,
    "trainer.checkpoint_every": CONVENIENCE,
    "trainer.sample_every": CONVENIENCE,
    "trainer.keep_warmup": CONVENIENCE,
    "run_dir": PLACE,
    "launcher": PLACE,
    "resume": PLACE,
    # No keys of the user's: `compose` adds them.
    "config_dir": CONVENIENCE,
    "origins": CONVENIENCE,
    "reduced": CONVENIENCE,
    "recipe": CONVENIENCE,
    # Of Runs of an earlier version.
    "ood_roots": DESCRIPTION,
}


def find_role(key: str) -> KeyRole:
    """The role of a dotted key: its own row, or that of the nearest section above it.

    A key without any row, such as one of another version, has the strictest role.
    """
    section = key
    while section:
        if section in ROLES:
            return ROLES[section]
        section = section.rpartition(".")[0]
    return METHOD
