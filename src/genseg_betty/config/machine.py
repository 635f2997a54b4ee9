"""What a training asks of the machine, found out without PyTorch: is there a GPU at all?"""

import os
import sys
from pathlib import Path

from genseg_betty.errors import UserError

# What Linux shows of GPUs: NVIDIA's, those of its small boards, AMD's, and those that Windows lends.
CARDS = ("nvidia*", "nvhost*", "nvgpu*", "kfd", "dxg")


def require_card(device: str, folder: Path = Path("/dev")) -> None:
    """Raise UserError for `device` cuda where no GPU can be. PyTorch alone knows whether one can be used."""
    if not device.startswith("cuda"):
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    if visible.strip() in ("", "-1"):
        raise UserError("device=cuda was asked for, but CUDA_VISIBLE_DEVICES hides every GPU; use device=cpu or auto.")
    if sys.platform == "linux" and not _has_card(folder):
        raise UserError("device=cuda was asked for, but this machine has no GPU; use device=cpu or auto.")


def _has_card(folder: Path) -> bool:
    """Whether a GPU, or what belongs to its driver, is among the devices that Linux lists in `folder`."""
    return any(any(folder.glob(name)) for name in CARDS)
