"""A machine with one GPU, as far as Python can tell: `torch.cuda`, autocast, optimizers and files answer as there."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import serialization

from device.places import CPU, CUDA, DEVICE, find_tensors, lies_on_device, marks

if TYPE_CHECKING:
    from device.two_places import TwoPlaces

MEMORY = 80 * 2**30
"""Bytes that the device says it has, all of them free."""


def _cuda_answers(places: "TwoPlaces") -> dict[str, Callable[..., Any]]:
    """What `torch.cuda` answers."""

    def nothing(*args: Any, **kwargs: Any) -> None:
        """Has no effect here."""

    def always(value: Any) -> Callable[..., Any]:
        return lambda *args, **kwargs: value

    return {
        "is_available": always(True),
        "is_initialized": always(True),
        "init": nothing,
        "_lazy_init": nothing,
        "device_count": always(1),
        "current_device": always(0),
        "set_device": nothing,
        "_exchange_device": always(0),
        "_maybe_exchange_device": always(0),
        "get_device_name": always("a CPU taken for a GPU"),
        "get_device_capability": always((9, 0)),
        "is_bf16_supported": always(True),
        "memory_allocated": always(0),
        "max_memory_allocated": always(2**20),
        "memory_reserved": always(0),
        "max_memory_reserved": always(2**20),
        "reset_peak_memory_stats": nothing,
        "mem_get_info": always((MEMORY, MEMORY)),
        "empty_cache": nothing,
        "is_current_stream_capturing": always(False),
        # The device's random numbers are the CPU's here: who restores the one has restored the other.
        "get_rng_state": lambda *args: torch.get_rng_state(),
        "set_rng_state": nothing,
        "manual_seed": nothing,
        "manual_seed_all": nothing,
        "synchronize": lambda *args: places.refuse_wait("synchronize", "that is what it is for"),
    }


def _autocast_on_cpu(init: Callable[..., None]) -> Callable[..., None]:
    """`torch.autocast("cuda")` is that of the CPU."""

    def replaced(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
        init(self, "cpu" if str(device_type).startswith("cuda") else device_type, *args, **kwargs)

    return replaced


def _of_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a device type, asked about the CPU in the place of CUDA."""
    return lambda *args: function(*("cpu" if arg == "cuda" else arg for arg in args))


def _grouped(group: Callable[..., Any]) -> Callable[..., Any]:
    """Tensors grouped by device, as optimizers do; torch looks at the device itself, past all modes."""

    def replaced(lists: Any, with_indices: bool = False) -> Any:
        groups = {}
        for (_, dtype), found in group(lists, with_indices).items():
            first = find_tensors(found[0][0])[0]
            groups[CUDA if lies_on_device(first) else CPU, dtype] = found
        return groups

    return replaced


@contextmanager
def _files_name_places() -> Iterator[None]:
    """Files of `torch.save` say of a storage where it lay; `torch.load` puts it there, or where it is told to."""

    def tag(storage: Any) -> str | None:
        return "cuda:0" if marks.find(_untyped(storage)) == DEVICE else None

    def restore(storage: Any, location: str) -> Any:
        if not location.startswith("cuda"):
            return None
        marks.put(_untyped(storage), DEVICE)
        return storage

    before = list(serialization._package_registry)
    serialization.register_package(0, tag, restore)
    try:
        yield
    finally:
        serialization._package_registry[:] = before


def _untyped(storage: Any) -> Any:
    return storage._untyped_storage if isinstance(storage, torch.storage.TypedStorage) else storage


def patch_machine(places: "TwoPlaces") -> Iterable[AbstractContextManager[Any]]:
    """What is to be entered for the machine to have a GPU, one by one."""
    # It looks through torch.cuda when it is first imported, and must find all as it was.
    import_module("torch._dynamo")
    for name, answer in _cuda_answers(places).items():
        yield mock.patch.object(torch.cuda, name, answer)
    stream = SimpleNamespace(is_capturing=lambda: False)
    yield mock.patch.object(torch.accelerator, "current_stream", return_value=stream)
    yield mock.patch.object(torch.autocast, "__init__", _autocast_on_cpu(torch.autocast.__init__))
    for name in ("is_autocast_enabled", "get_autocast_dtype", "set_autocast_enabled", "set_autocast_dtype"):
        yield mock.patch.object(torch, name, _of_cpu(getattr(torch, name)))
    for name in ("torch.optim.optimizer", "torch.nn.utils.clip_grad", "torch.utils._foreach_utils"):
        module = import_module(name)
        group = module._group_tensors_by_device_and_dtype
        yield mock.patch.object(module, "_group_tensors_by_device_and_dtype", _grouped(group))
    # Torch takes modes off while it answers a call, and so they are off in the backward passes that calls make.
    run = torch.autograd._engine_run_backward
    for module in (torch.autograd, torch.autograd.graph):
        yield mock.patch.object(
            module, "_engine_run_backward", lambda *args, **kwargs: places.run_backward(run, *args, **kwargs)
        )
    # What a checkpointed block saves is compared to what it saves when it runs again: inside of one of torch's own
    # functions a tensor tells its real device, outside that of its place.
    extractors = import_module("torch.utils.checkpoint")._allowed_determinism_checks_to_fns
    yield mock.patch.dict(extractors, {"default": lambda tensor: {"shape": tensor.shape, "dtype": tensor.dtype}})
    yield _files_name_places()
