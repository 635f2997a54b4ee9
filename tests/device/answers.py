"""Calls that are answered otherwise where the CPU is taken for a GPU.

They send tensors from place to place, tell where one lies, or go past the operators.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from device.places import (
    CPU,
    CUDA,
    DEVICE,
    MAIN,
    PINNED,
    copy_to,
    find_named_place,
    find_place,
    lies_on_device,
    name_cpu,
    put,
)

if TYPE_CHECKING:
    from device.two_places import TwoPlaces


def _send(places: "TwoPlaces", function: Any, args: Any, kwargs: Any) -> Tensor:
    """`Tensor.to`, in all its forms."""
    tensor, *options = args
    given = [*options[:1], kwargs.get("device"), kwargs.get("other")]
    target = next(filter(None, map(_find_target, given)), None)
    if options and find_named_place(options[0]) is not None:
        options = [CPU, *options[1:]]
    kwargs = name_cpu(kwargs)
    if target is not None and (target == DEVICE) != lies_on_device(tensor):
        tensor = places.send(tensor, target, _find_non_blocking(options, kwargs), "to")
    with places.frame(None, find_place(tensor)):
        return function(tensor, *options, **kwargs)


def _find_non_blocking(options: Any, kwargs: Any) -> bool:
    """The first of the flags that are given by position, unless it is given by name."""
    flags = [value for value in options if isinstance(value, bool)]
    return kwargs.get("non_blocking", any(flags[:1]))


def _find_target(value: Any) -> str | None:
    """The place that an argument of `Tensor.to` names, or that of the tensor that it is."""
    if isinstance(value, Tensor):
        return DEVICE if lies_on_device(value) else MAIN
    return find_named_place(value)


def _send_to_device(places: "TwoPlaces", function: Any, args: Any, kwargs: Any) -> Tensor:
    tensor = args[0]
    if lies_on_device(tensor):
        return tensor
    return places.send(tensor, DEVICE, _find_non_blocking(args[1:], kwargs), "cuda")


def _send_to_main(places: "TwoPlaces", function: Any, args: Any, kwargs: Any) -> Tensor:
    return places.send(args[0], MAIN, False, "cpu") if lies_on_device(args[0]) else args[0]


def _make_of_data(places: "TwoPlaces", function: Any, args: Any, kwargs: Any) -> Tensor:
    """`torch.tensor` and its like: made in main memory of what is there, then sent."""
    target = find_named_place(kwargs.get("device"))
    options = {key: value for key, value in kwargs.items() if key not in ("device", "requires_grad", "pin_memory")}
    if target is None and function == Tensor.new_tensor:
        target = find_place(args[0])
    implied = find_place(args[-1]) if isinstance(args[-1], Tensor) and function != Tensor.new_tensor else MAIN
    with places.frame(None, implied):
        made = function(*args, **options)
    if function == Tensor.new_tensor:
        put(made, MAIN)  # of what it is given, whatever it is called on
    if target is not None and (target == DEVICE) != lies_on_device(made):
        made = places.send(made, target, False, getattr(function, "__name__", "tensor"))
    return made.requires_grad_() if kwargs.get("requires_grad") else made


def _pin(places: "TwoPlaces", function: Any, args: Any, kwargs: Any) -> Tensor:
    if lies_on_device(args[0]):
        places.refuse("pin_memory", "only tensors of main memory can be pinned")
    return args[0] if find_place(args[0]) == PINNED else copy_to(args[0], PINNED)


def _copy_deeply(places: "TwoPlaces", function: Any, args: Any, kwargs: Any) -> Tensor:
    """It copies the storage, which no operator does."""
    copy = function(*args, **kwargs)
    put(copy, find_place(args[0]))
    return copy


def _refuse_numpy(places: "TwoPlaces", function: Any, args: Any, kwargs: Any) -> Any:
    if lies_on_device(args[0]):
        places.refuse(function.__name__, "numpy takes tensors of main memory alone; .cpu() comes first")
    return function(*args, **kwargs)


def _ask_list(places: "TwoPlaces", function: Any, args: Any, kwargs: Any) -> Any:
    if lies_on_device(args[0]):
        places.refuse_wait("tolist", "the host asks for its numbers")
    return function(*args, **kwargs)


def _set_gradient(places: "TwoPlaces", function: Any, args: Any, kwargs: Any) -> None:
    tensor, gradient = args
    if gradient is not None and lies_on_device(tensor) != lies_on_device(gradient):
        places.refuse("grad", "a gradient has to lie where its tensor does")
    function(*args)


def _say_of_device(answer: Any) -> Callable[..., Any]:
    """What is answered of a tensor on the device; of others torch knows by itself."""
    return lambda places, function, args, kwargs: answer if lies_on_device(args[0]) else function(*args, **kwargs)


def _one_hot(places: "TwoPlaces", function: Any, args: Any, kwargs: Any) -> Tensor:
    """On the CPU it looks whether there are enough classes, on CUDA it does not where it is told how many."""
    told = kwargs.get("num_classes", args[1] if len(args) > 1 else -1) >= 0
    with places.asking() if told else nullcontext():
        return places.run(function, args, kwargs)


ANSWERS: dict[Any, Callable[..., Any]] = {
    Tensor.device.__get__: _say_of_device(CUDA),
    Tensor.is_cuda.__get__: _say_of_device(True),
    Tensor.is_cpu.__get__: _say_of_device(False),
    Tensor.grad.__set__: _set_gradient,
    Tensor.get_device: _say_of_device(0),
    Tensor.is_pinned: lambda places, function, args, kwargs: find_place(args[0]) == PINNED,
    Tensor.record_stream: lambda places, function, args, kwargs: None,
    Tensor.to: _send,
    Tensor.cuda: _send_to_device,
    Tensor.cpu: _send_to_main,
    Tensor.pin_memory: _pin,
    Tensor.numpy: _refuse_numpy,
    Tensor.__array__: _refuse_numpy,
    Tensor.tolist: _ask_list,
    Tensor.__deepcopy__: _copy_deeply,
    Tensor.new_tensor: _make_of_data,
    torch.nn.functional.one_hot: _one_hot,
    torch.tensor: _make_of_data,
    torch.as_tensor: _make_of_data,
    torch.asarray: _make_of_data,
}
"""Torch's function -> what answers in its place: (guard, function, args, kwargs) -> result."""
