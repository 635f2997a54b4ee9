"""Random numbers as a pure function of (seed, name, count).

A step that draws its numbers this way needs no generator state in a checkpoint: a resumed run, and a second
evaluation of the same step, draw the same dropout, augmentation and batch.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derived_seed(seed: int, *names: object) -> int:
    """A 63-bit seed from `seed` and any names or counts; equal on every machine."""
    parts = [str(part) for part in (seed, *names)]
    text = "/".join(parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block under torch's generators seeded with `seed`; the generators outside are left untouched."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        seed_torch(seed)
        yield


def seed_torch(seed: int) -> None:
    """As `torch.manual_seed`, which also notes for a CUDA that has not started what to seed there, and by whom: on a
    machine without a GPU this list grows at every call, and its texts take a sixth of a small step.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
