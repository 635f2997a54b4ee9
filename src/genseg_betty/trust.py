"""What may be built from the config of a Run, which may come from a stranger, unless its user trusts it.

Accepted are this package's own constructors, each in its room, and the networks of segmentation_models_pytorch and
MONAI; with plain values, none of which names code, a file or an address; and from installed packages. A network may
have no more weights than the Run brings along and memory holds.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn.modules import module as modules

from genseg_betty.device import free_memory
from genseg_betty.errors import UserError
from genseg_betty.run import Run
from genseg_betty.search_path import folders_of_the_user, installed_packages_only

# Section of the config -> where its constructors lie.
ROOMS = {name: f"genseg_betty.{room}" for name, room in (
    ("backbone", "backbones"), ("generator", "generators"), ("augment", "augment")
)}  # fmt: skip
# Keys that are sections of their own: they are no arguments of the section that they stand in, and built by themselves.
INNER = {"generator": ("objective", "discriminator")}
SMP, MONAI = "segmentation_models_pytorch", "monai.networks.nets"
LIBRARIES = (SMP, "monai", "timm")
FETCHING = ("CellSamWrapper", "Transchex")  # networks of MONAI that read weights made elsewhere, whatever they are told
TARGET = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)
# Keys by which libraries read or fetch.
FETCHED = re.compile(r"(^|_)(path|file|filename|url|dir|cfg|overlay|id|checkpoint|weights)$|^(weights|pretrained)_")
SPARE_WEIGHTS = 2**28  # bytes of layers that a network builds and leaves out
MAX_LAYERS = 20_000  # modules within each other, counted each time that one is put into another
LARGEST = 2**20  # of the numbers that networks are made by
LARGEST_WINDOW = 64  # of attention, which makes a table of window ** 4 numbers
LEADS_OUT = re.compile(r"[/\\:~]")  # a text that may be a path, an address, or a name that timm fetches by
MAX_SHOWN = 80  # characters of a value in a message


@contextmanager
def building_from(run: Run, config: DictConfig, parts: Sequence[str], trust: bool) -> Iterator[None]:
    """Build in the block what `parts` of the Run's `config` describe, such as "backbone" or "generator.objective".

    Raises UserError, unless `trust`, before anything of them is imported that is not accepted; and in the block, for
    networks with many more weights than the Run's checkpoints hold.
    """
    if trust:
        yield
        return
    files = [file for file in run.path.glob("checkpoints/*.pt") if file.is_file()]
    brought = 4 * sum(file.stat().st_size for file in files) + SPARE_WEIGHTS  # a file may have holes
    with installed_packages_only(), _size_bounded(min(brought, free_memory("cpu"))):
        faults = _misplaced() or [fault for part in parts for fault in foreign_parts(config, part)]
        if faults:
            raise UserError(_refusal(run.path, faults))
        yield


@contextmanager
def _size_bounded(most: float) -> Iterator[None]:
    """Raise UserError as soon as the modules built in the block have weights of over `most` bytes, before their values
    are drawn: until then they take no memory; or as soon as they are more than MAX_LAYERS."""
    weights = layers = 0

    def add_weights(_: nn.Module, name: str, value: Tensor | None) -> None:
        nonlocal weights
        weights += 0 if value is None else value.numel() * value.element_size()
        if weights > most:
            raise UserError(
                f"the network of config.yaml has over {most / 2**30:.1f} GiB of weights, far more than the Run's "
                "checkpoints or the memory hold: the Run is damaged, or made to fill the memory"
            )

    def add_layer(_: nn.Module, name: str, inner: nn.Module | None) -> None:
        nonlocal layers
        layers += 1
        if layers > MAX_LAYERS:
            raise UserError(
                f"the network of config.yaml has over {MAX_LAYERS:,} layers, more than any that is trained: the Run is "
                "damaged, or made to fill the memory"
            )

    hooks = [
        modules.register_module_parameter_registration_hook(add_weights),
        modules.register_module_buffer_registration_hook(add_weights),
        modules.register_module_module_registration_hook(add_layer),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _refusal(path: Path, faults: Sequence[str]) -> str:
    return "\n  - ".join(
        [f"The Run at {path} is not built, as its config.yaml asks for what may run code or fetch files:", *faults]
    ) + (
        "\nExpected classes of genseg_betty itself, or networks of segmentation_models_pytorch and MONAI, with plain "
        "values. Whoever wrote the file could do here all that you may. If you trust the Run (it may be your own, with "
        "a network of yours), say so: --trust, or trust=True in Python."
    )


def foreign_parts(config: DictConfig, part: str) -> Iterator[str]:
    """A line for each thing in a section of the config that is not accepted without trust."""
    section = OmegaConf.select(config, part)
    values = OmegaConf.to_container(section) if isinstance(section, DictConfig) else {}
    assert isinstance(values, dict)
    target = values.pop("_target_", None)
    if fault := _fault_of_target(part, target):
        yield f"{part}._target_: {_short(target)} ({fault})"
    names_a_net = target == "genseg_betty.backbones.monai_nets.monai" and "net" in values
    if names_a_net and (fault := _fault_of_net(values["net"])):
        yield f"{part}.net: {_short(values['net'])} ({fault})"
    inner = INNER.get(part, ())
    yield from _foreign_values({key: value for key, value in values.items() if key not in inner}, part)


def _fault_of_target(part: str, target: Any) -> str | None:
    if not isinstance(target, str) or not TARGET.fullmatch(target):
        return "expected package.module.Class"
    module, _, name = target.rpartition(".")
    room = ROOMS[part.partition(".")[0]]
    if module == room or module.startswith(f"{room}."):
        return None if _defines(module, name) else "this version of genseg_betty has no such class"
    if part == "backbone" and target.startswith((f"{SMP}.", f"{MONAI}.")):
        library = SMP if target.startswith(f"{SMP}.") else MONAI
        kind = _library_networks(library).get(name)
        if kind is None or module not in (library, kind.__module__):
            return "no network of that library"
        return _fault_of_network(kind)
    return "a class of others"


def _defines(module: str, name: str) -> bool:
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    return callable(found) and found.__module__ == module


def _library_networks(library: str) -> dict[str, type[nn.Module]]:
    """The networks by the names of their classes."""
    package = importlib.import_module(library)
    found = package.MODEL_ARCHITECTURES_MAPPING if library == SMP else vars(package)
    kinds = [kind for kind in found.values() if inspect.isclass(kind) and issubclass(kind, nn.Module)]
    return {kind.__name__: kind for kind in kinds if kind.__module__.startswith(f"{library}.")}


def _fault_of_net(net: Any) -> str | None:
    """Of `backbone.net`, by which a network of MONAI, or any other class, is found."""
    if not isinstance(net, str) or not net.removeprefix(f"{MONAI}.").isidentifier():
        return "a class of others"
    kind = _library_networks(MONAI).get(net.removeprefix(f"{MONAI}."))
    return None if kind is None else _fault_of_network(kind)  # an unknown name is answered where it is looked up


def _fault_of_network(kind: type[nn.Module]) -> str | None:
    pretrained = inspect.signature(kind).parameters.get("pretrained")
    fetches = kind.__name__ in FETCHING or (pretrained is not None and pretrained.default is True)
    return "it fetches weights" if fetches else None


def _misplaced() -> list[str]:
    """A line for each library that was imported from the current folder or PYTHONPATH before, and not installed."""
    foreign = folders_of_the_user()
    files = {name: getattr(sys.modules[name], "__file__", None) for name in LIBRARIES if name in sys.modules}
    return [
        f"{name} was imported from {file or 'a folder without code'}, which is not the installed package"
        for name, file in files.items()
        if file is None or not foreign.isdisjoint(Path(file).resolve().parents[:2])  # name/__init__.py or name.py
    ]


def _foreign_values(value: Any, place: str) -> Iterator[str]:
    """A line for each value that is no plain one, or that may name a file or an address."""
    if isinstance(value, dict):
        for key, inner in value.items():
            names_file = FETCHED.search(str(key)) and isinstance(inner, str | list | dict)
            if not isinstance(key, str) or key.startswith("_") or names_file:
                yield f"{place}.{key}: {_short(inner)}"
            else:
                yield from _foreign_values(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _foreign_values(inner, f"{place}.{index}")
    elif not _is_plain(value, LARGEST_WINDOW if "window" in place else LARGEST):
        yield f"{place}: {_short(value)}"


def _is_plain(value: Any, largest: int) -> bool:
    if isinstance(value, str):
        return LEADS_OUT.search(value) is None
    if isinstance(value, int | float):
        return abs(value) <= largest  # NaN is not
    return value is None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
