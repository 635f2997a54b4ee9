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

from genseg_betty.device import free_memory, write_gib
from genseg_betty.errors import UserError
from genseg_betty.run import Run
from genseg_betty.search_path import folders_of_the_user, installed_packages_only

# Section of the config -> where its constructors lie.
ROOMS = {
    "backbone": "genseg_betty.backbones",
    "second_backbone": "genseg_betty.backbones",
    "generator": "genseg_betty.generators",
    "augment": "genseg_betty.augment",
}
# Keys that are sections of their own: they are no arguments of the section that they stand in, and built by themselves.
INNER = {"generator": ("objective", "discriminator")}
SMP, MONAI = "segmentation_models_pytorch", "monai.networks.nets"
MONAI_BY_NAME = "genseg_betty.backbones.monai_nets.monai"  # builds the network that its argument `net` names
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
ADVICE = (
    "Expected classes of genseg_betty itself, or networks of segmentation_models_pytorch and MONAI, with plain values. "
    "Whoever wrote the file could do here all that you may. If you trust the Run (it may be your own, with a network "
    "of yours), say so: --trust, or trust=True in Python."
)


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
    held = sum(file.stat().st_size for file in files)
    brought = 4 * held + SPARE_WEIGHTS  # a file may have holes
    most = min(brought, free_memory("cpu"))
    with installed_packages_only(), _bounded_size(most):
        faults = _find_misplaced()
        if not faults:
            for part in parts:
                faults += find_foreign_parts(config, part)
        if faults:
            raise UserError(_explain_refusal(run.path, faults))
        yield


@contextmanager
def _bounded_size(most: float) -> Iterator[None]:
    """Raise UserError as soon as the modules built in the block are more than MAX_LAYERS, or have over `most` bytes.

    Weights are counted before their values are drawn: until then they take no memory.
    """
    weights = layers = 0

    def add_weights(_: nn.Module, name: str, value: Tensor | None) -> None:
        nonlocal weights
        if value is not None:
            weights += value.numel() * value.element_size()
        if weights > most:
            raise _refuse_size(f"{write_gib(most)} of weights, far more than the Run's checkpoints or the memory hold")

    def add_layer(_: nn.Module, name: str, inner: nn.Module | None) -> None:
        nonlocal layers
        layers += 1
        if layers > MAX_LAYERS:
            raise _refuse_size(f"{MAX_LAYERS:,} layers, more than any that is trained")

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


def _refuse_size(bound: str) -> UserError:
    cause = "the Run is damaged, or made to fill the memory"
    return UserError(f"the network of config.yaml has over {bound}: {cause}")


def _explain_refusal(path: Path, faults: Sequence[str]) -> str:
    heading = f"The Run at {path} is not built, as its config.yaml asks for what may run code or fetch files:"
    found = "\n  - ".join([heading, *faults])
    return f"{found}\n{ADVICE}"


def find_foreign_parts(config: DictConfig, part: str) -> Iterator[str]:
    """A line for each thing in a section of the config that is not accepted without trust."""
    section = OmegaConf.select(config, part)
    values = OmegaConf.to_container(section) if isinstance(section, DictConfig) else {}
    assert isinstance(values, dict)
    target = values.pop("_target_", None)
    fault = _fault_of_target(part, target)
    if fault:
        yield f"{part}._target_: {_shorten_value(target)} ({fault})"
    if target == MONAI_BY_NAME and "net" in values:
        net = values["net"]
        fault = _fault_of_net(net)
        if fault:
            yield f"{part}.net: {_shorten_value(net)} ({fault})"
    inner = INNER.get(part, ())
    own = {key: value for key, value in values.items() if key not in inner}
    yield from _find_foreign_values(own, part)


def _fault_of_target(part: str, target: Any) -> str | None:
    """Why the constructor that a section names is not accepted; None where it is."""
    if not isinstance(target, str) or not TARGET.fullmatch(target):
        return "expected package.module.Class"
    module, _, name = target.rpartition(".")
    section, _, _ = part.partition(".")
    room = ROOMS[section]
    if module == room or module.startswith(f"{room}."):
        return None if _is_defined_in(module, name) else "this version of genseg_betty has no such class"
    if section in ("backbone", "second_backbone"):
        for library in (SMP, MONAI):
            if target.startswith(f"{library}."):
                return _fault_of_library_class(library, module, name)
    return "a class of others"


def _fault_of_library_class(library: str, module: str, name: str) -> str | None:
    kind = _find_library_networks(library).get(name)
    if kind is None or module not in (library, kind.__module__):
        return "no network of that library"
    return _fault_of_network(kind)


def _is_defined_in(module: str, name: str) -> bool:
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    if not callable(found):
        return False
    return found.__module__ == module or found.__module__.startswith(f"{module}.")  # a package hands on its own


def _find_library_networks(library: str) -> dict[str, type[nn.Module]]:
    """The networks by the names of their classes."""
    package = importlib.import_module(library)
    found = package.MODEL_ARCHITECTURES_MAPPING if library == SMP else vars(package)
    kinds = {}
    for kind in found.values():
        is_network = inspect.isclass(kind) and issubclass(kind, nn.Module)
        if is_network and kind.__module__.startswith(f"{library}."):
            kinds[kind.__name__] = kind
    return kinds


def _fault_of_net(net: Any) -> str | None:
    """Of `backbone.net`, by which a network of MONAI, or any other class, is found."""
    name = net.removeprefix(f"{MONAI}.") if isinstance(net, str) else ""
    if not name.isidentifier():
        return "a class of others"
    kind = _find_library_networks(MONAI).get(name)
    return None if kind is None else _fault_of_network(kind)  # an unknown name is answered where it is looked up


def _fault_of_network(kind: type[nn.Module]) -> str | None:
    pretrained = inspect.signature(kind).parameters.get("pretrained")
    by_default = pretrained is not None and pretrained.default is True
    fetches = by_default or kind.__name__ in FETCHING
    return "it fetches weights" if fetches else None


def _find_misplaced() -> list[str]:
    """A line for each library that was imported from the current folder or PYTHONPATH before, and not installed."""
    foreign = folders_of_the_user()
    faults = []
    for name in LIBRARIES:
        if name not in sys.modules:
            continue
        file = getattr(sys.modules[name], "__file__", None)
        if file is None or _lies_in(Path(file), foreign):
            place = file or "a folder without code"
            faults.append(f"{name} was imported from {place}, which is not the installed package")
    return faults


def _lies_in(file: Path, folders: set[Path]) -> bool:
    """Whether a module, as FOLDER/name.py or FOLDER/name/__init__.py, comes from one of these folders."""
    nearest = file.resolve().parents[:2]
    return not folders.isdisjoint(nearest)


def _find_foreign_values(value: Any, place: str) -> Iterator[str]:
    """A line for each value that is no plain one, or that may name a file or an address."""
    if isinstance(value, dict):
        for key, inner in value.items():
            names_file = FETCHED.search(str(key)) and isinstance(inner, str | list | dict)
            if not isinstance(key, str) or key.startswith("_") or names_file:
                yield f"{place}.{key}: {_shorten_value(inner)}"
            else:
                yield from _find_foreign_values(inner, f"{place}.{key}")
        return
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _find_foreign_values(inner, f"{place}.{index}")
        return
    largest = LARGEST_WINDOW if "window" in place else LARGEST
    if not _is_plain(value, largest):
        yield f"{place}: {_shorten_value(value)}"


def _is_plain(value: Any, largest: int) -> bool:
    if isinstance(value, str):
        return LEADS_OUT.search(value) is None
    if isinstance(value, int | float):
        return abs(value) <= largest  # NaN is not
    return value is None


def _shorten_value(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
