"""What is wrong with cases beside each other: images unlike most, and images that lie there twice."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from genseg_betty.data.formats import ImageError, bit_depth
from genseg_betty.data.inspect.check_case import Seen, finding_of
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.files import Finding


def find_mixtures(dataset: Dataset, seen: Sequence[Seen]) -> list[Finding]:
    """Images unlike most: one scale serves all of a dataset, and one network takes either images or volumes."""
    if dataset.root is None:
        return []
    pairs = zip(dataset.cases, seen, strict=True)
    axes = {case.image: len(one.image.shape) for case, one in pairs if one.image}
    bits: dict[Path, int] = {}
    for path in axes:
        with suppress(ImageError):  # told by the other checks
            if depth := bit_depth(path):
                bits[path] = depth
    other_kinds = _find_unusual(dataset, axes, "size_mismatch", _describe_kind)
    other_depths = _find_unusual(dataset, bits, "unreadable", _describe_depth)
    return other_kinds + other_depths


def _describe_kind(found: int, usual: int, share: str) -> str:
    kinds = {2: "an image", 3: "a volume"}
    return (
        f"is {kinds[found]}, {share} are {kinds[usual]} each; expected one kind: choose it by dataset.images, or move "
        "the others away"
    )


def _describe_depth(found: int, usual: int, share: str) -> str:
    return (
        f"holds {found} bits a value, {share} hold {usual}; expected one depth, for their intensities do not compare: "
        "save it as the others"
    )


def _find_unusual(
    dataset: Dataset, values: Mapping[Path, int], code: str, describe: Callable[[int, int, str], str]
) -> list[Finding]:
    """One finding for each file whose value is not the most frequent one."""
    counts = Counter(values.values())
    usual = max(counts, key=lambda value: counts[value], default=0)
    share = f"{counts[usual]} of {len(dataset.cases)} images"
    messages = {path: describe(found, usual, share) for path, found in values.items() if found != usual}
    return [finding_of(dataset, code, path, message) for path, message in messages.items()]


def find_duplicates(dataset: Dataset, seen: Sequence[Seen]) -> list[Finding]:
    """A warning for each image whose pixels are those of an earlier one."""
    first: dict[bytes, Case] = {}
    found = []
    for case, one in zip(dataset.cases, seen, strict=True):
        if one.digest and first.setdefault(one.digest, case) is not case:
            earlier = dataset.path_below(first[one.digest].image)
            message = f"is the same image as {earlier}; it counts twice, so remove one"
            found.append(finding_of(dataset, "duplicate", case.image, message))
    return found
