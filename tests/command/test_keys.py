"""The table of keys: every key of the schema has its row, and the name, the resume and the reports read it."""

from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from genseg_betty.commands.keys import find_keys
from genseg_betty.config import compose
from genseg_betty.config.keys import ROLES, find_role
from genseg_betty.config.schema import Config
from genseg_betty.errors import UserError
from genseg_betty.run import Run
from genseg_betty.run.saved_config import find_differences

NOT_OF_THE_SCHEMA = {"config_dir", "origins", "reduced", "ood_roots", "recipe"}
"""Added by the program, or of earlier Runs."""


def test_each_key_of_the_schema_has_its_row():
    missing = {entry.name for entry in fields(Config)} - ROLES.keys()
    assert not missing


def test_each_row_is_of_a_key_of_the_schema():
    sections = set()
    for key in find_keys({}):
        parts = key.split(".")
        sections |= {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    assert ROLES.keys() - sections == NOT_OF_THE_SCHEMA


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("trainer.optimizers.segmenter.lr", "trainer"),
        ("logger.project", "logger"),
        ("dataset.about.licence", "dataset.about"),
        ("dataset.n_labelled", "dataset.n_labelled"),
        ("dataset.n_test", "dataset"),
        ("of_another_version", "method"),
    ],
)
def test_a_row_holds_for_the_keys_below_it(key, row):
    assert find_role(key) == ROLES[row]


@pytest.mark.parametrize("ood", ["ood=[]", "dataset.ood=[]"])
def test_the_datasets_that_are_only_tested_on_may_change_until_the_test(ood, tmp_path: Path):
    with Run.start(tmp_path, compose(["dataset=phantom", "ood=[phantom_shifted]", f"run_dir={tmp_path}"])) as run:
        run.save_checkpoint("last", {"step": 5})
    changed = compose(["dataset=phantom", ood, f"run_dir={tmp_path}"])
    with Run.start(tmp_path, changed) as run:
        assert run.resuming
        assert run.config.ood == changed.ood
        run.write_json("results.json", {"test": {}})
    tested_on_others = compose(["dataset=phantom", "ood=[isic]", f"run_dir={tmp_path}"])
    with pytest.raises(UserError, match=r"ood: .* in the Run, \['isic'\] now"):
        Run.start(tmp_path, tested_on_others)


def test_other_keys_forbid_a_resume_beside_those_datasets():
    old = OmegaConf.create({"ood": [], "seed": 0, "trainer": {"iterations": 9}})
    new = OmegaConf.create({"ood": ["isic"], "seed": 1, "trainer": {"iterations": 8}})
    assert find_differences(old, new) == ["seed: 0 in the Run, 1 now", "trainer.iterations: 9 in the Run, 8 now"]
