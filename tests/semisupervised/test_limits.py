"""Keys of the methods that are out of range: all are told at once, before any work."""

import pytest

from genseg_betty.config import compose
from genseg_betty.errors import UserError

FAULTS = {
    "mutual_correction": [
        ("temperature=0", "0.01"),
        ("correction_weight=-1", "0"),
        ("consistency_weight=-0.1", "0"),
        ("second_backbone=vnet", "unet"),
    ],
    "unimatch": [
        ("threshold=1.5", "1"),
        ("cutmix=-0.5", "0"),
        ("strong.blur.range=[0.0, 2.0]", "0.1"),
        ("strong.contrast.probability=2", "1"),
        ("augment=maybe", "true"),
    ],
}


@pytest.mark.parametrize("method", FAULTS)
def test_keys_out_of_range_are_told_at_once(method: str) -> None:
    faults = FAULTS[method]
    overrides = [f"method.{fault}" for fault, _ in faults]
    with pytest.raises(UserError) as told:
        compose([f"method={method}", *overrides])
    lines = str(told.value).splitlines()
    for fault, expected in faults:
        key = fault.partition("=")[0]
        (line,) = [line for line in lines if f"method.{key}" in line]
        assert expected in line


@pytest.mark.parametrize("method", FAULTS)
def test_keys_of_another_method_are_refused(method: str) -> None:
    with pytest.raises(UserError, match=r"method\.real_weight"):
        compose([f"method={method}", "method.real_weight=1"])


def test_the_other_networks_structure_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"method\.second_backbone=unet: the first network is unet too"):
        compose(["method=mcf", "backbone=unet", "method.second_backbone=unet"])
