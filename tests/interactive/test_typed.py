"""A program that uses this package is checked by mypy as strictly as its author likes."""

import subprocess
import sys
from pathlib import Path

import pytest

import genseg_betty as gs

SCRIPT = Path(__file__).with_name("script_of_a_user.py")


def test_every_name_that_is_offered_is_there() -> None:
    for name in gs.__all__:
        assert getattr(gs, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'prediction'"):
        gs.prediction  # noqa: B018


@pytest.mark.slow
def test_a_users_script_is_checked_strictly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(SCRIPT)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert found.returncode == 0, found.stdout
