"""What our components take, read from their source, beside what Python itself says of them once they are imported."""

import importlib
import re
import subprocess
import sys
from inspect import Parameter
from pathlib import Path
from typing import get_args

import pytest

from genseg_betty.config import conf_dir, signatures

TARGETS = sorted(
    {
        target
        for file in conf_dir().rglob("*.yaml")
        for target in re.findall(r"_target_: (genseg_betty\.\S+)", file.read_text(encoding="utf-8"))
    }
)


def named(parameters: list[Parameter]) -> list[tuple[str, object, bool]]:
    return [(one.name, one.kind, one.default is Parameter.empty) for one in parameters]


def says_something(hint: object) -> bool:
    """Whether a type limits the values of a YAML file: built-ins and what is made of them."""
    return all(says_something(part) for part in get_args(hint)) if get_args(hint) else type(hint) is type


@pytest.mark.parametrize("target", TARGETS)
def test_the_source_says_what_the_import_says(target: str) -> None:
    module, _, name = target.rpartition(".")
    read = signatures._read_source(module, name)
    assert read is not None, "nothing is read of it, so that a mistyped key waits for PyTorch"
    parameters, hints = read
    expected, types = signatures._import_and_inspect(module, name)
    assert named(parameters) == named(expected)
    assert hints == {key: types[key] for key in hints}
    assert not [key for key in types.keys() - hints.keys() - {"return"} if says_something(types[key])]


def test_components_of_others_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_code.py").write_text("def net(a: int, *, b: str = 'x', **rest): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    parameters, hints = signatures.read_signature("my_code.net")
    assert [one.name for one in parameters] == ["a", "b", "rest"]
    assert hints == {"a": int, "b": str}


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("net", ValueError),
        ("genseg_betty.backbones.smp.unett", AttributeError),
        ("genseg_betty.backbones.nosuch.unet", ImportError),
        ("genseg_betty.backbones.smp.LIBRARY_WIDTH", ValueError),
    ],
)
def test_nothing_to_call(target: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        signatures.read_signature(target)


def test_every_target_is_read_without_torch() -> None:
    code = (
        "import sys\nfrom genseg_betty.config.signatures import read_signature\n"
        f"for target in {TARGETS}: read_signature(target)\n"
        "assert not {'torch', 'monai', 'segmentation_models_pytorch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_modules_of_the_targets_exist() -> None:
    assert len(TARGETS) > 15
    for target in TARGETS:
        assert callable(getattr(importlib.import_module(target.rpartition(".")[0]), target.rpartition(".")[2]))
