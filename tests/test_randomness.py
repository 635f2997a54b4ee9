"""Blocks under seeded generators: what torch.manual_seed draws, nothing changed outside, nothing noted for later."""

import hashlib

import pytest
import torch

from genseg_betty.randomness import derived_seed, seeded


def test_a_block_draws_what_manual_seed_draws_and_leaves_the_generator_outside_alone() -> None:
    torch.manual_seed(1)
    outside = torch.rand(4)
    torch.manual_seed(2**62 + 3)
    within = torch.rand(4)

    torch.manual_seed(1)
    with seeded(2**62 + 3):
        assert torch.equal(torch.rand(4), within)
    assert torch.equal(torch.rand(4), outside)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU that has started is seeded at once")
def test_a_block_notes_nothing_for_a_gpu_that_has_not_started() -> None:
    before = len(torch.cuda._queued_calls)
    for seed in range(3):
        with seeded(seed):
            torch.rand(1)
    assert len(torch.cuda._queued_calls) == before


def test_derived_seeds_are_the_same_on_every_machine() -> None:
    assert (
        derived_seed(0, "generator")
        == int.from_bytes(hashlib.blake2b(b"0/generator", digest_size=8).digest(), "big") // 2
    )
    assert derived_seed(0, "a", 1) != derived_seed(0, "a", 2)
