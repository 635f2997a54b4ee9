"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture
def genseg_data() -> Path:
    """Root of the real datasets ($GENSEG_DATA, else ../shared/data beside the repository); skips without them."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("GENSEG_DATA", default))
    if not root.is_dir():
        pytest.skip(f"no real datasets at {root}; set GENSEG_DATA to their folder")
    return root


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
