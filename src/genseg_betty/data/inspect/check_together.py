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
    axes = {}
    bits = {}
    for case, one in zip(dataset.cases, seen, strict=True):
        if not one.image:
            continue
        axes[case.image] = len(one.image.shape)
        with suppress(ImageError):  # told by the other checks
            depth = bit_depth(case.image)
            if depth:
                bits[case.image] = depth
    other_kinds = _find_unusual(dataset, axes, "size_mismatch", _describe_kind)
    other_depths = _find_unusual(dataset, bits, "unreadable", _describe_depth)
    return other_kinds + other_depths


def _describe_kind(found: int, usual: int, share: str) -> str:
    kinds = {2: "an image", 3: "a volume"}
    return (
        f"is {kinds[found]}, {share} are {kinds[usual]} each; "
        "expected one kind: choose it by dataset.images, or move the others away"
    )


def _describe_depth(found: int, usual: int, share: str) -> str:
    return (
        f"holds {found} bits a value, {share} hold {usual}; "
        "expected one depth, for their intensities do not compare: save it as the others"
    )


def _find_unusual(
    dataset: Dataset, values: Mapping[Path, int], code: str, describe: Callable[[int, int, str], str]
) -> list[Finding]:
    """One finding for each file whose value is not the most frequent one."""
    if not values:
        return []
    counts = Counter(values.values())
    usual, frequency = counts.most_common(1)[0]
    share = f"{frequency} of {len(dataset.cases)} images"
    findings = []
    for path, found in values.items():
        if found != usual:
            message = describe(found, usual, share)
            finding = finding_of(dataset, code, path, message)
            findings.append(finding)
    return findings


def find_duplicates(dataset: Dataset, seen: Sequence[Seen]) -> list[Finding]:
    """A warning for each image whose pixels are those of an earlier one."""
    first: dict[bytes, Case] = {}
    findings = []
    for case, one in zip(dataset.cases, seen, strict=True):
        if not one.digest:
            continue
        earlier = first.setdefault(one.digest, case)
        if earlier is case:
            continue
        file = dataset.path_below(earlier.image)
        message = f"is the same image as {file}; it counts twice, so remove one"
        finding = finding_of(dataset, "duplicate", case.image, message)
        findings.append(finding)
    return findings
