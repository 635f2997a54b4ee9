"""The config.yaml of a stranger's Run: plain values written out, or refused before anything is made of it."""

import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from genseg_betty.errors import UserError
from genseg_betty.run import Run

HOSTILE = {
    "the environment": ("a: ${oc.env:HOME}", "refers to other values"),
    "the environment, spelled in codes": (r'a: "\x24\x7boc.env:HOME}"', "refers to other values"),
    "the environment in a key": (r'"\u0024{oc.env:HOME}": 1', "refers to other values"),
    "a reference": ("a: &x 1\nb: *x", "refers to other values"),
    "an object": ("a: !!python/object/apply:os.mkdir [made]", "holds the tag"),
    "a path": ("a: !!python/object/apply:pathlib.PosixPath [made]", "holds the tag"),
    "bytes": ("a: !!binary aGVsbG8=", "holds the tag"),
    "a set": ("a: !!set {x}", "holds the tag"),
    "an open value": ("a: ???", "leaves a value open"),
    "depth": ("a: " + "[" * 40 + "]" * 40, "more than 32 deep"),
    "many values": ("a: [" + "1," * 100_000 + "]", "more than 20,000 keys and values"),
    "great depth": ("a: " + "[" * 100_000, "more than 32 deep"),
    "no text": ("a: \x00", "cannot be read"),
    "a list": ("[1, 2]", "holds no config"),
    "a long number": ("a: " + "9" * 10_000, "a number of 10,000 characters"),
    "a long number of another base": ("a: 0x" + "f" * 10_000, "a number of 10,002 characters"),
    "hours, minutes and so on": ("a: 1" + ":59" * 100_000, "a number of 300,001 characters"),
}


@pytest.mark.parametrize(("text", "told"), HOSTILE.values(), ids=HOSTILE)
def test_what_no_run_writes_is_refused(text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"config\.yaml.* {told}"):
        Run.open(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("target", ["/dev/zero", None], ids=["device", "pipe"])
def test_a_file_without_end_is_no_run(target: str | None, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    os.mkfifo(file) if target is None else file.symlink_to(target)
    with pytest.raises(UserError, match="there is no Run"):
        Run.open(tmp_path)


def test_what_a_run_writes_comes_back(tmp_path: Path) -> None:
    config = {
        "text": "a: b # c", "odd": "*x & !y {z}", "dollar": "5$ {x}", "letters": "肺\t\x85\u2028", "empty": "",
        "number": 1e-7, "none": None, "list": [1, [2.5, "x"], {}], "yes": "yes", "date": "2024-01-01",
        "inf": float("inf"),
    }  # fmt: skip
    with Run.start(tmp_path, config):
        pass
    assert OmegaConf.to_container(Run.open(tmp_path).config) == config
