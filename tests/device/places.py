"""Where tensors lie: in main memory, or on the device that the CPU is taken for."""

from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

MAIN, PINNED, DEVICE = "main memory", "pinned main memory", "the device"
CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


class Marks:
    """The places of storages that lie elsewhere than in plain main memory. A view has the storage of its base."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[StorageWeakRef, str]] = {}
        self._swept_at = 1000

    def find(self, storage: Any) -> str:
        # A weak reference keeps the address of a storage from being used again.
        found = self._places.get(storage._cdata)
        return MAIN if found is None else found[1]

    def put(self, storage: Any, place: str) -> None:
        if place == MAIN:
            self._places.pop(storage._cdata, None)
        if place == self.find(storage):
            return
        self._places[storage._cdata] = (StorageWeakRef(storage), place)
        if len(self._places) > self._swept_at:
            self._places = {key: kept for key, kept in self._places.items() if not kept[0].expired()}
            self._swept_at = 2 * len(self._places) + 1000


marks = Marks()
"""Of this process, as storages are."""


def find_place(tensor: Tensor) -> str:
    """MAIN, PINNED or DEVICE."""
    return marks.find(tensor.untyped_storage())


def put(tensor: Tensor, place: str) -> None:
    """Let a tensor, and all views of it, lie there from now on."""
    marks.put(tensor.untyped_storage(), place)


def lies_on_device(tensor: Tensor) -> bool:
    """Whether a tensor lies on the device, not in main memory."""
    return find_place(tensor) == DEVICE


def find_tensors(*values: Any) -> list[Tensor]:
    """The tensors among arguments or results, in lists and dicts as well."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += find_tensors(*value)
        elif isinstance(value, dict) and value:
            found += find_tensors(*value.values())
    return found


def find_named_place(device: Any) -> str | None:
    """The place that an argument names; None for no device, and for one that is neither of the two."""
    if isinstance(device, bool) or not isinstance(device, str | int | torch.device):
        return None
    kind = "cuda" if isinstance(device, int) else str(device).split(":")[0]
    return {"cuda": DEVICE, "cpu": MAIN}.get(kind)


def name_cpu(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keywords of a call that names the device, for the CPU."""
    return {**kwargs, "device": CPU} if find_named_place(kwargs.get("device")) == DEVICE else kwargs


class Moved(torch.autograd.Function):
    """A tensor sent to a place; its gradient is sent back."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, place: str) -> Tensor:
        ctx.origin = MAIN if place == DEVICE else DEVICE
        return copy_to(tensor, place)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return Moved.apply(gradients[0], ctx.origin), None


def copy_to(tensor: Tensor, place: str) -> Tensor:
    """A copy at that place, without a history."""
    copy = tensor.detach().clone()
    put(copy, place)
    return copy
