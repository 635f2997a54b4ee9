"""What a method is called where one of several is asked for: as short as tells it from the others."""

from collections.abc import Sequence
from typing import NamedTuple

from genseg_betty.errors import UserError


class MethodKey(NamedTuple):
    """What makes a method, as the columns of a report's tables have it."""

    method: str
    variant: str
    dataset: str
    n_labelled: str
    backbone: str
    generator: str

    @property
    def setting(self) -> tuple[str, str, str]:
        """What methods have in common that are compared with each other."""
        return self.dataset, self.n_labelled, self.backbone


def name_methods(keys: Sequence[MethodKey]) -> dict[MethodKey, str]:
    """The name of each method: with what sets it apart, and the settings in which it differs from its likes."""
    keys = list(dict.fromkeys(keys))
    names = {}
    for key in keys:
        likes = [other[2:] for other in keys if other[:2] == key[:2]]
        parts = [key.method, key.variant]
        for setting, values in zip(key[2:], zip(*likes, strict=True), strict=True):
            if len(set(values)) > 1:
                parts.append(setting)
        names[key] = " · ".join(part for part in parts if part)
    return names


def require_method(name: str, names: Sequence[str]) -> None:
    """Raise UserError for a method to compare with that is none of these."""
    if name not in names:
        raise UserError(f"--against {name}: expected one of {', '.join(names)}")
