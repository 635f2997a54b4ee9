"""Where to compute, and how precisely."""

import math
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from genseg_betty.errors import UserError
from genseg_betty.ranks import count_processes, find_rank


def resolve_device(device: str) -> torch.device:
    """auto -> cuda if there is one, else cpu; UserError for cuda where there is none.

    Of several processes each has a GPU of its own.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("device=cuda was asked for, but PyTorch finds no CUDA GPU here; use device=cpu or auto.")
    if device == "cuda" and count_processes() > 1:
        return torch.device("cuda", _find_own_card(torch.cuda.device_count()))
    return torch.device(device)


def _find_own_card(cards: int) -> int:
    """The number of this process's GPU, out of `cards` of this machine."""
    number = find_rank().local_number
    if number >= cards:
        raise UserError(
            f"process {number + 1} of this machine finds {cards} GPU(s), and each process needs one of its own: start "
            f"{cards} with torchrun --nproc-per-node {cards}, or use device=cpu."
        )
    return number


def resolve_autocast(precision: str, device: torch.device) -> torch.dtype | None:
    """bfloat16 if `precision` (auto|fp32|bf16) asks for it, or leaves it open on a GPU that has it; else None."""
    if precision == "auto":
        capable = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if capable else None
    return torch.bfloat16 if precision == "bf16" else None


def set_float32(precision: str) -> None:
    """Let GPUs round the operands of float32 products to TF32 (10 bits of mantissa), unless `precision` is fp32.

    Hypergradients stay accurate enough, except those of the first few joint steps: benchmarks/rounding.py.
    """
    rounded = precision != "fp32"
    torch.backends.cudnn.allow_tf32 = rounded
    torch.backends.cuda.matmul.allow_tf32 = rounded


def choose_memory_format(device: torch.device, spatial_dims: int, precision: str) -> torch.memory_format:
    """How the weights of networks are laid out: channels last for images on a GPU, as its tensor cores read them.

    On an H100 that takes 12 % off the time of a joint step at 256 x 256; in full float32 it adds 15 %. A CPU has its
    own order.
    """
    fits = device.type == "cuda" and spatial_dims == 2 and precision != "fp32"
    return torch.channels_last if fits else torch.preserve_format


def send_to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor of main memory on `device`, without waiting for the GPU's work before it."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    pinned = tensor.pin_memory()
    return pinned.to(device, non_blocking=True)


def write_gib(count: float) -> str:
    """A number of bytes in GiB, such as "1.3 GiB"."""
    return f"{count / 2**30:.1f} GiB"


def peak_memory(device: torch.device | str) -> int:
    """Most bytes held so far: of GPU memory by torch, or of main memory by this process."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_memory(device: torch.device | str) -> float:
    """Bytes that are free: on the GPU, or in main memory within the limits of the container."""
    if torch.device(device).type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return min(_read_available_memory(), _read_container_memory())


def _read_available_memory() -> float:
    """Bytes of main memory that the system can give; infinity where it does not tell."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable"):
                kibibytes = line.split()[1]
                return 1024.0 * int(kibibytes)
    return math.inf


def _read_container_memory() -> float:
    """Bytes that the container may still take; infinity where it has no limit."""
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        most = float((group / "memory.max").read_text())
        return most - float((group / "memory.current").read_text())
    return math.inf


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: of a GPU, of NumPy, or of PyTorch in main memory, which has no type of error for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
