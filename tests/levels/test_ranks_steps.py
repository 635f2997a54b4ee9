"""Two processes that share each batch make the steps of one process that has all of it, hypergradients included."""

from typing import Any

import pytest
import torch

from levels.ranks_steps import CASES, FUNCTIONS, compute_all
from processes import run_in_processes
from states import different, flat, joined, relative_error

ROUNDING = 1e-12
Found = tuple[dict[str, Any], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What one process computes alone, and what each of two computes."""
    together = run_in_processes(compute_all, tmp_path_factory.mktemp("processes"))
    return compute_all(), together


@pytest.mark.parametrize("case", CASES)
def test_the_hypergradient_is_that_of_the_joint_batch(found: Found, case: str) -> None:
    """A's gradient, through S and G, in each of its three steps; A rests in the first step of all."""
    alone, (first, _) = found
    expected = alone["trainings"][case]["gradients"]
    gradients = first["trainings"][case]["gradients"]
    assert len(gradients) == len(expected) == 3
    limit = 1e-6 if case == "finite_difference" else ROUNDING  # a difference of two numbers that are nearly the same
    for step, wanted in zip(gradients, expected, strict=True):
        assert joined(wanted).norm() > 0
        assert relative_error(joined(step), joined(wanted)) < limit


@pytest.mark.parametrize("case", ["exact without BatchNorm", "exact"])
@pytest.mark.parametrize("level", ["segmenter", "generator"])
def test_each_hop_is_that_of_the_joint_batch(found: Found, case: str, level: str) -> None:
    alone, (first, _) = found
    expected = joined(alone["hops"][case][level])
    assert expected.norm() > 0
    assert relative_error(joined(first["hops"][case][level]), expected) < ROUNDING


@pytest.mark.parametrize("case", CASES)
def test_weights_statistics_and_losses_are_those_of_one_process(found: Found, case: str) -> None:
    alone, (first, _) = found
    for part in ("losses", "state"):
        expected = flat(alone["trainings"][case][part])
        together = flat(first["trainings"][case][part])
        assert together.keys() == expected.keys()
        assert expected
        for place, value in expected.items():
            assert torch.allclose(together[place], value, rtol=1e-7, atol=1e-9), place


def test_networks_of_the_package_learn_as_in_one_process(found: Found) -> None:
    """Pix2Pix, its discriminator and a UNet, with dropout, geometry and pasted objects; one image a process."""
    alone, (first, second) = found
    expected = flat(alone["package"])
    assert len(alone["package"]["gradients"]) == 2
    assert not different(first["package"], second["package"])
    for place, value in flat(first["package"]).items():
        tight = place.startswith("/gradients")
        limits = {"rtol": 1e-11, "atol": 0.0} if tight else {"rtol": 1e-6, "atol": 1e-8}
        assert torch.allclose(value, expected[place], **limits), place


def test_all_processes_hold_the_same_to_the_bit(found: Found) -> None:
    _, (first, second) = found
    assert not different(first["trainings"], second["trainings"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_up_to_the_second_are_those_of_the_joint_batch(found: Found, name: str) -> None:
    alone, (first, second) = found
    expected = alone["derivatives"][name]
    for kind, value in expected.items():
        together = first["derivatives"][name][kind]
        if kind.endswith("images"):
            together = torch.cat([together, second["derivatives"][name][kind]])
        assert relative_error(together, value) < ROUNDING, kind


def test_random_numbers_are_rows_of_those_of_the_joint_batch(found: Found) -> None:
    alone, (first, second) = found
    for kind, value in alone["draws"].items():
        parts = first["draws"][kind], second["draws"][kind]
        together = torch.cat(parts) if value.ndim else parts[0]
        assert torch.equal(together, value), kind
        if not value.ndim:
            assert torch.equal(*parts)


def test_processes_agree_and_tell_where_they_do_not(found: Found) -> None:
    alone, together = found
    assert alone["agreement"] == {"unlike": [], "first": {"rank": 0}, "greatest": 0, "failure": "no answer"}
    failures = ["no answer", "the first process cannot go on; its message says why"]
    for one, failure in zip(together, failures, strict=True):
        assert one["agreement"] == {
            "unlike": ["one bit"], "first": {"rank": 0}, "greatest": 10, "failure": failure,
        }  # fmt: skip
