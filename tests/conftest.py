"""Fixtures shared by all tests."""

import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from genseg_betty import config as config_module
from genseg_betty.config import composing


@pytest.fixture
def genseg_data() -> Path:
    """Root of the real datasets ($GENSEG_DATA, else ../shared/data beside the repository); skips without them."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("GENSEG_DATA", default))
    if not root.is_dir():
        pytest.skip(f"no real datasets at {root}; set GENSEG_DATA to their folder")
    return root


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests read is kept in a folder of theirs, not in the user's cache; processes that they start find it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_configure() -> None:
    """Hydra composes each choice of the package's own members once: a quarter of a second for most tests."""
    usual, known = composing.compose_groups, {}

    def compose_groups(groups: Mapping[str, str], folder: Path | None) -> Any:
        if folder is not None:  # a user's files, which a test may rewrite
            return usual(groups, folder)
        key = tuple(groups.items())
        if key not in known:
            known[key] = usual(groups, folder)
        return copy.deepcopy(known[key])

    for module in (composing, config_module):
        module.compose_groups = compose_groups


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))
