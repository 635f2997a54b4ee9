"""Odd values of the environment variables that say where data lie and where what was read is kept."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest

from genseg_betty.config import load_dataset_config
from genseg_betty.data.cache.store import Cache, key_of
from genseg_betty.data.cases import resolve_root
from genseg_betty.data.fetch import Screen, fetch_dataset
from genseg_betty.errors import UserError

PLACES = ["~nobody-of-this-name/x", "/dev/null", "x" * 5000, "/proc/nowhere", "\udcff", __file__, "a\nb"]


@pytest.mark.parametrize("place", PLACES)
def test_a_data_folder_that_is_none(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENSEG_DATA", place)
    with pytest.raises(UserError, match=r"GENSEG_DATA|no folder at"):
        resolve_root(load_dataset_config("nlm_mc"))


def test_a_data_folder_of_nobody_is_told_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENSEG_DATA", "~nobody-of-this-name/x")
    with pytest.raises(UserError, match="there is no such user"):
        fetch_dataset(load_dataset_config("nlm_mc"), None, Screen())


def test_an_empty_data_folder_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENSEG_DATA", "")
    (tmp_path / "data" / "nlm_mc").mkdir(parents=True)
    assert resolve_root(load_dataset_config("nlm_mc")) == tmp_path / "data" / "nlm_mc"


@pytest.mark.parametrize("place", PLACES)
def test_a_cache_that_is_no_folder_costs_time(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENSEG_CACHE", place)
    cache = Cache.from_environment()
    key = key_of("x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cache.put(key, image=np.zeros(3))
        cache.trim()
    kept = cache.get(key)
    assert kept is None or kept.arrays["image"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "-1", "0", "x", "1,5", "9" * 5000, " ", "1e9"])
def test_a_limit_of_the_cache_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENSEG_CACHE_GB", text)
    with pytest.raises(UserError, match="expected gigabytes above 0"):
        Cache.from_environment()


def test_limits_of_the_cache_in_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, expected in (("1e-3", 1e6), (" 2 ", 2e9), ("1_0", 1e10), ("", 2e10)):
        monkeypatch.setenv("GENSEG_CACHE_GB", text)
        assert math.isclose(Cache.from_environment().limit, expected)
