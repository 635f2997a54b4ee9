"""What TF32 and bfloat16 products leave of the gradient of A: the bounds that README and `set_float32` speak of."""

import pytest
import torch

import rounding

STEP = 10


@pytest.fixture(scope="module")
def rows():
    """One training of the benchmark's, at a smaller size: the formats beside float64."""
    return {row["format"]: row for row in rounding.measure(rounding.parse(["--size", "32"]), seed=0, steps=[STEP])}


def test_float32_is_float64_but_for_its_last_digits(rows):
    assert rows["float32"]["error"] < 1e-3


def test_tf32_bears_the_hypergradient(rows):
    assert rows["TF32"]["cosine"] > 0.95


def test_it_is_seen_that_less_precise_products_are_worse(rows):
    assert rows["float32"]["error"] < rows["TF32"]["error"] < rows["bfloat16"]["error"]


def test_operands_are_rounded_to_the_mantissa_of_bfloat16():
    values = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert rounding.Rounded(7).rounded(values).equal(values.to(torch.bfloat16).float())
