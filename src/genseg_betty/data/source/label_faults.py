"""What is wrong with the labels that a dataset YAML declares."""

from collections.abc import Mapping, Sequence

from genseg_betty.data.formats.common import MAX_LABEL
from genseg_betty.data.source.label_values import LabelValue, is_colour, is_number, to_file_number, to_label_value

MAX_COLOURS = 256  # of a palette, which predictions are written with


def find_label_faults(labels: Mapping[str, LabelValue], foreground: Sequence[str] | None) -> list[str]:
    """Everything that is wrong with `labels` (name -> file value or colour) and with the names in `foreground`."""
    faults = _find_value_faults(labels)
    if len(labels) < 2:
        faults.append("found one label; expected the background and at least one more")
    if foreground:
        faults += _find_foreground_faults(labels, foreground)
    return faults


def _find_value_faults(labels: Mapping[str, LabelValue]) -> list[str]:
    """Values of the wrong kind, one value for two labels, and more colours than a palette holds."""
    in_colour = any(not isinstance(value, int) for value in labels.values())
    is_allowed = is_colour if in_colour else is_number
    odd = [name for name, value in labels.items() if not is_allowed(value)]

    faults = []
    if odd:
        names = ", ".join(odd)
        expected = f"whole numbers within 0..{MAX_LABEL}"
        if in_colour:
            expected = "colours [red, green, blue] within 0..255, as labels are numbers or colours, all of them"
        faults.append(f"the values of {names} are not {expected}")
    elif _count_values(labels) < len(labels):
        faults.append("two labels share one value; every label needs its own")
    if in_colour and len(labels) > MAX_COLOURS:
        faults.append(f"found {len(labels)} colours; expected at most {MAX_COLOURS}")
    return faults


def _count_values(labels: Mapping[str, LabelValue]) -> int:
    numbers = set()
    for value in labels.values():
        numbers.add(to_file_number(to_label_value(value)))
    return len(numbers)


def _find_foreground_faults(labels: Mapping[str, LabelValue], foreground: Sequence[str]) -> list[str]:
    unknown = [name for name in foreground if name not in labels]
    if unknown:
        found = ", ".join(unknown)
        expected = ", ".join(labels)
        return [f"foreground names {found}; expected names among {expected}"]
    leaves_no_background = "background" in foreground or len(set(foreground)) == len(labels)
    if leaves_no_background:
        found = ", ".join(foreground)
        return [f"foreground names {found}; expected at least one label left as background"]
    return []
