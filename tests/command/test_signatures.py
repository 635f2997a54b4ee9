"""What our components take, read from their source, beside what Python itself says of them once they are imported."""

import importlib
import re
import subprocess
import sys
from inspect import Parameter
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from genseg_betty.config import conf_dir, signatures
from genseg_betty.config.source_signatures import read_foreign_source, read_own_source
from genseg_betty.generators.search_space import SearchSpace

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
    read = read_own_source(module, name)
    assert read is not None, "nothing is read of it, so that a mistyped key waits for PyTorch"
    parameters, hints = read
    expected, types = signatures.import_and_inspect(module, name)
    assert named(parameters) == named(expected)
    assert hints == {key: types[key] for key in hints}
    beside = {"return", "space"}  # the fields of a SearchSpace are keys of their own
    assert not [key for key in types.keys() - hints.keys() - beside if says_something(types[key])]


def test_the_fields_of_a_search_space_are_keys_of_a_generator() -> None:
    parameters, hints = signatures.read_signature("genseg_betty.generators.pix2pix.Pix2Pix")
    fields = get_type_hints(SearchSpace)
    assert {one.name for one in parameters} >= fields.keys()
    assert "space" not in {one.name for one in parameters}
    assert {name: hints[name] for name in fields} == fields


OTHERS = """
raise RuntimeError("imported")
def net(a: int, *, b: str = 'x', **rest): ...
@staticmethod
def decorated(a): ...
class Net:
    def __init__(self, a: int, b: "Unknown" = 1): ...
class Inherits(Net): ...
Assigned = Net
"""


@pytest.mark.parametrize("module", ["my_code", "my_package", "my_package.inner"])
def test_components_of_others_are_read_before_they_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    (tmp_path / "my_package").mkdir()
    for file in ("my_code.py", "my_package/__init__.py", "my_package/inner.py"):
        (tmp_path / file).write_text(OTHERS)
    monkeypatch.syspath_prepend(tmp_path)
    parameters, hints = signatures.read_signature(f"{module}.net")
    assert [one.name for one in parameters] == ["a", "b", "rest"]
    assert hints == {"a": int, "b": str}
    assert [one.name for one in signatures.read_signature(f"{module}.Net")[0]] == ["a", "b"]
    for name in ("decorated", "Inherits", "Assigned", "nothing"):
        with pytest.raises(RuntimeError, match="imported"):
            signatures.read_signature(f"{module}.{name}")
    with pytest.raises(RuntimeError, match="imported"):
        signatures.read_signature(f"{module}.net", importing=True)


def test_what_others_install_is_read_as_it_is_imported() -> None:
    read = read_foreign_source("torch.nn.modules.linear", "Linear")
    assert read is not None
    assert named(read[0]) == named(signatures.import_and_inspect("torch.nn.modules.linear", "Linear")[0])


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
