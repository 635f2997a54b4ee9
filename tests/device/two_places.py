"""The package on a CPU that is taken for a GPU: what a real GPU would refuse or wait for is refused here as well.

Every tensor lies at one of two places, in main memory or on the device. Whatever is sent to `cuda` is computed on the
CPU, but remembered as lying on the device; so are the results of operators on such tensors, in forward and backward
passes alike. A tensor on the device says of itself that its device is `cuda:0`, and `torch.cuda` answers as on a
machine with one GPU, so that the package takes the ways that it takes there.

Two modes of torch find this out. The function mode sees calls as Python writes them, with the device that they name.
The dispatch mode sees every operator that is run in the end, with the tensors that it is given. What is refused stands
in `rules.py`.

Not seen: streams and what overtakes what on them, kernels that compute something else than those of the CPU, memory,
tensors without values (meta, fake), and what torch's own Python functions send to a device by themselves.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import genseg_betty
from device.answers import ANSWERS
from device.machine import patch_machine
from device.places import (
    DEVICE,
    MAIN,
    PINNED,
    Moved,
    copy_to,
    find_named_place,
    find_place,
    find_tensors,
    lies_on_device,
    name_cpu,
    put,
)
from device.rules import COPYING, INDEXING, TAKES_NUMBERS, Call, Operator, describe_operator

PACKAGE = Path(genseg_betty.__file__).parent


class Refused(AssertionError):
    """A real GPU would not do this, or would have to be waited for."""


class _Frame(NamedTuple):
    """A call that is being answered: where tensors come to lie that it makes of nothing."""

    named: str | None  # the place that the call names
    implied: str  # where its operands lie


class TwoPlaces:
    """The guard of a block of `two_places`.

    Attributes:
        refusals: all that was refused, also where the package caught it.
    """

    def __init__(self) -> None:
        self.refusals: list[Refused] = []
        self._in_step = False
        self._frames = [_Frame(None, MAIN)]
        self._listening = True  # whether the function mode is on: torch takes it off while it answers
        self._functions = _Functions(self)
        self._operators = _Operators(self)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Refuse within the block what the host would have to wait for."""
        with self._stepping(True):
            yield

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Allow that again, for what a step does once."""
        with self._stepping(False):
            yield

    @contextmanager
    def _stepping(self, now: bool) -> Iterator[None]:
        before, self._in_step = self._in_step, now
        try:
            yield
        finally:
            self._in_step = before

    # -- refusals --------------------------------------------------------------------------------------------

    def refuse(self, operator: str, reason: str) -> None:
        """Raise Refused, with the line of the package that it comes from."""
        refusal = Refused(f"{operator}: {reason} ({_origin()})")
        self.refusals.append(refusal)
        raise refusal

    def refuse_wait(self, operator: str, reason: str) -> None:
        """The same within a step; nothing outside."""
        if self._in_step:
            self.refuse(operator, f"a step waits for the device: {reason}")

    # -- calls, as Python writes them ------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer a call of one of torch's functions."""
        if not self._listening or function is torch.device:
            return function(*args, **kwargs)
        if _among_fakes():
            return function(*args, **name_cpu(kwargs))
        answer = ANSWERS.get(function)
        self._listening = False
        try:
            if answer is not None:
                return answer(self, function, args, kwargs)
            if getattr(function, "__name__", "") == "__get__":
                return function(*args, **kwargs)
            return self.run(function, args, kwargs)
        finally:
            self._listening = True

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call itself, on the CPU."""
        operands = [find_place(tensor) for tensor in find_tensors(args, kwargs)]
        self._frames.append(_Frame(find_named_place(kwargs.get("device")), DEVICE if DEVICE in operands else MAIN))
        try:
            return function(*args, **name_cpu(kwargs))
        finally:
            self._frames.pop()

    @contextmanager
    def frame(self, named: str | None, implied: str) -> Iterator[None]:
        """Let what is made of nothing within the block lie at the place named, or else where it is implied."""
        self._frames.append(_Frame(named, implied))
        try:
            yield
        finally:
            self._frames.pop()

    def send(self, tensor: Tensor, place: str, non_blocking: bool, operator: str) -> Tensor:
        """A copy of a tensor at the other place."""
        self.check_transfer(find_place(tensor), place, non_blocking, operator)
        if torch.is_grad_enabled() and tensor.requires_grad:
            return Moved.apply(tensor, place)
        return copy_to(tensor, place)

    def check_transfer(self, source: str, target: str, non_blocking: bool, operator: str) -> None:
        """Refuse a copy from place to place that a step would wait for."""
        if source == DEVICE and not (target == PINNED and non_blocking):
            self.refuse_wait(operator, "it is copied to main memory")
        elif source != DEVICE and not (source == PINNED and non_blocking):
            self.refuse_wait(operator, "it is copied to the device, but not from pinned memory with non_blocking=True")

    def run_backward(self, run: Callable[..., Any], outputs: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        """A backward pass. Python that autograd calls in it is to be listened to again."""
        before, self._listening = self._listening, True
        again = nullcontext() if before else self._functions
        try:
            with again, self.frame(None, DEVICE if any(map(lies_on_device, find_tensors(*outputs))) else MAIN):
                return run(outputs, *args, **kwargs)
        finally:
            self._listening = before

    # -- operators, as they run ------------------------------------------------------------------------------

    def dispatch(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator on the CPU, unless it is to be refused, and remember where its results lie."""
        operands = find_tensors(args, kwargs)
        if any(tensor.is_meta or isinstance(tensor, FakeTensor) for tensor in operands):
            return op(*args, **kwargs)
        places = [find_place(tensor) for tensor in operands]
        operator = describe_operator(op)
        on_device = DEVICE in places
        if on_device:
            self._check(Call(op, args, kwargs), operator, operands, places)
        place = self._place_of_result(operator, operands, on_device)
        generator = kwargs.get("generator")
        if place == DEVICE and generator is not None:
            self.refuse(str(op), "its generator is of the CPU; CUDA takes one of its own")
        result = op(*args, **kwargs)
        if place == DEVICE and operator.name not in COPYING:
            for tensor in find_tensors(result):
                if not tensor.is_meta:
                    put(tensor, DEVICE)
        return result

    def _place_of_result(self, operator: Operator, operands: Sequence[Tensor], on_device: bool) -> str:
        frame = self._frames[-1]
        if operator.names_device and frame.named is not None:
            return frame.named
        if operands:
            return DEVICE if on_device else MAIN
        return frame.implied

    def _check(self, call: Call, operator: Operator, operands: Sequence[Tensor], places: Sequence[str]) -> None:
        name = str(call.op)
        if operator.name in COPYING:
            self._check_copy(call, name)
            return
        if any(place != DEVICE for place in places):
            self._check_mixture(call, operator, operands, places)
        for rule in operator.fails:
            if rule.applies(call):
                self.refuse(name, rule.reason)
        if self._in_step:
            for rule in operator.waits:
                if rule.applies(call):
                    self.refuse_wait(name, rule.reason)

    def _check_copy(self, call: Call, name: str) -> None:
        """From place to place is what copies are there for."""
        pairs = zip(find_tensors(call.args[0]), find_tensors(call.args[1]), strict=False)
        for target, source in pairs:
            here, there = find_place(target), find_place(source)
            if (here == DEVICE) != (there == DEVICE):
                self.check_transfer(there, here, bool(call.argument("non_blocking")), name)

    def _check_mixture(self, call: Call, operator: Operator, operands: Sequence[Tensor], places: Sequence[str]) -> None:
        if operator.name in INDEXING and lies_on_device(call.args[0]):
            indices = find_tensors(call.argument("indices"))
            if not all(map(lies_on_device, indices)):
                self.refuse_wait(str(call.op), "an index of main memory is copied to the device")
            operands = [tensor for tensor in operands if all(tensor is not index for index in indices)]
        written = find_tensors(*(call.args[at] for at in operator.written if at < len(call.args)))
        takes_numbers = operator.pointwise or operator.name in TAKES_NUMBERS
        for tensor in operands:
            if lies_on_device(tensor):
                continue
            read = all(tensor is not other for other in written)
            if not (takes_numbers and read and tensor.ndim == 0):
                self.refuse(str(call.op), f"operands lie at two places; {list(tensor.shape)} in main memory")


class _Functions(TorchFunctionMode):
    def __init__(self, places: TwoPlaces) -> None:
        super().__init__()
        self.places = places

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.places.call(function, args, kwargs or {})


class _Operators(TorchDispatchMode):
    def __init__(self, places: TwoPlaces) -> None:
        super().__init__()
        self.places = places

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to see to that takes time with every operator

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return self.places.dispatch(op, args, kwargs or {})


def _among_fakes() -> bool:
    """Whether tensors without values are being computed with: those all lie at one place."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


def _origin() -> str:
    """The innermost line of the package on the stack; of whoever called torch where there is none."""
    frame, outside = sys._getframe(), None
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        text = f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"
        if file.is_relative_to(PACKAGE):
            return text
        if outside is None and file != Path(__file__) and "torch" not in file.parts and "<" not in str(file):
            outside = text
        frame = frame.f_back
    return outside or "unknown"


@contextmanager
def two_places() -> Iterator[TwoPlaces]:
    """Run a block as on a machine with a GPU. Raises Refused where that would fail, or a step would wait for it."""
    places = TwoPlaces()
    with ExitStack() as stack:
        for patch in patch_machine(places):
            stack.enter_context(patch)
        stack.enter_context(places._operators)
        stack.enter_context(places._functions)
        yield places
    if places.refusals:
        raise places.refusals[0]
