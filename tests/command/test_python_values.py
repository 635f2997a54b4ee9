"""`gs.train` of a dictionary or keywords: the same lines as on the command line, or a sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genseg_betty as gs
from genseg_betty.config.python_values import override_lines
from genseg_betty.errors import ConfigError, UserError

GROUPS = ("dataset", "backbone", "trainer")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", 3, 3),
        ("seed", np.int64(3), 3),
        ("seed", np.uint8(3), 3),
        ("backbone.base_channels", np.float32(8), 8),
        ("method.real_weight", 1e-05, 1e-05),
        ("augment.rotate", np.float64(2.5), 2.5),
        ("dataset.scaled_masks", True, True),
        ("dataset.scaled_masks", np.bool_(True), True),
        ("root", Path("/data/it's (1), ${HOME"), None),
        ("dataset.root", Path("/data/it's (1)"), "/data/it's (1)"),
        ("dataset.root", "C:\\scans\\", "C:\\scans\\"),
        ("dataset.group", r"(P\d+)_\w'", r"(P\d+)_\w'"),
        ("dataset.labels", {"left lung": 0, "ulcer": 1}, {"left lung": 0, "ulcer": 1}),
        ("image_size", (64, 96), [64, 96]),
        ("image_size", [np.int32(64), 96], [64, 96]),
        ("name", "true", "true"),
        ("name", "1.10", "1.10"),
        ("name", None, None),
        ("ood", [{"name": "nlm_mc", "root": Path("/x")}], [{"name": "nlm_mc", "root": "/x"}]),
    ],
)  # fmt: skip
def test_values_arrive_as_they_are(toys: Any, key: str, value: Any, expected: Any) -> None:
    lines = override_lines({"dataset": "folder", key: value}, {}, GROUPS)
    if key == "root":
        with pytest.raises(ConfigError, match=r"dataset\.root"):
            toys.compose(*lines)
        return
    section, _, last = key.rpartition(".")
    config = toys.compose(*lines)
    found = config[section][last] if section else config[key]
    assert found == expected
    assert type(found) is type(expected) or isinstance(expected, list | dict)


def test_a_mapping_for_a_group_stands_for_its_keys_and_keywords_come_last() -> None:
    lines = override_lines({"trainer": {"iterations": 5, "name": "x"}, "seed": 1}, {"seed": 2, "root": "d"}, GROUPS)
    assert lines == ["trainer.iterations=5", "trainer.name='x'", "seed=2", "dataset.root='d'"]
    assert override_lines(["seed=1"], {"backbone": "unet"}, GROUPS) == ["seed=1", "backbone='unet'"]


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(3),
        torch.zeros(2),
        {1, 2},
        b"bytes",
        1j,
        object(),
        len,
        10**400,
        2**63,
        [np.zeros(2)],
        {"a": {3}},
        ENDLESS,
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_no_config_can_hold(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"name=.*expected a number, text, a path"):
        gs.train({"name": value})


@pytest.mark.parametrize("overrides", [None, "seed=1", b"seed=1", 3, {"seed=1"}, object()])
def test_overrides_that_are_no_lines(overrides: Any) -> None:
    with pytest.raises(UserError, match=r"expected a list of text such as \['seed=1'\], or a dictionary"):
        gs.train(overrides)


def test_lines_that_are_no_text() -> None:
    with pytest.raises(ConfigError) as caught:
        gs.train(["seed=-1", None, 3, b"seed=1"])  # type: ignore[list-item]
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "None (NoneType)",
        "3 (int)",
        "b'seed=1' (bytes)",
    ]


def test_keys_of_another_kind() -> None:
    with pytest.raises(ConfigError, match="3=1"):
        gs.train({3: 1})
    with pytest.raises(ConfigError, match=r"(?s)iterations=.*seed="):
        override_lines({"trainer": {"iterations": {1}}, "seed": {2}}, {}, GROUPS)


@pytest.mark.parametrize("folder", ["", "~nobody-of-this-name/x", "a\0b", 3, "x" * 5000, __file__])
def test_config_folders_that_are_none(folder: Any) -> None:
    with pytest.raises(UserError, match=r"--config-dir .*: no such folder"):
        gs.train([], folder)
