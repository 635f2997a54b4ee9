"""The labelled cases of a dataset, its classes and fixed test part, and how a case is read."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genseg_betty.data.formats import Header, ImageError, content_digest, read_header, read_image, read_mask
from genseg_betty.data.scale import EIGHT_BIT, Scale, scale_of_files
from genseg_betty.data.source.case import Case, Sample
from genseg_betty.data.source.folds import Folds, fold_groups, held_out_groups
from genseg_betty.data.source.label_values import LabelValue
from genseg_betty.data.source.labels import LabelMap
from genseg_betty.data.source.masks import read_indices
from genseg_betty.errors import UserError


@dataclass
class Dataset:
    """The labelled cases of a dataset, sorted by id, and how to read them."""

    name: str
    root: Path | None
    cases: list[Case]
    unlabelled: list[Path]
    labels: LabelMap
    metric: str
    published_test: frozenset[str] = field(default=frozenset())  # ids; empty where nothing is published
    scaled_masks: bool = False  # whether masks may have another size than their image
    range: Scale | None = None  # black and white, declared, of files that are not 8-bit
    folds: Folds | None = None  # test on one of K parts
    own_split: Mapping[str, Sequence[str]] = field(default_factory=dict)  # ids by part, from the user's own file
    published_split: bool = False  # whether the test part or split file is the publisher's, not the user's own
    copies: Literal["allow"] | None = None  # "allow": copies of one picture may stand in several parts
    near_copies: list[tuple[Case, Case]] | None = field(default=None, compare=False)  # once they were looked for
    notes: list[str] = field(default_factory=list)  # what was passed over, a sentence each

    @classmethod
    def empty(cls, name: str) -> "Dataset":
        """A dataset of that name without cases."""
        return cls(name, None, [], [], LabelMap.declared(None, None), "dice")

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; class 0 is the background."""
        return self.labels.classes

    @cached_property
    def label_values(self) -> tuple[LabelValue, ...]:
        """The file value, or the colour, of each class; undeclared binary masks are looked at for 0/1 or 0/255."""
        return self.label_values_of(self.cases)

    def label_values_of(self, cases: Iterable[Case]) -> tuple[LabelValue, ...]:
        """`label_values` as the first of these cases with a foreground has them."""
        if self.labels.lookup is None:
            for case in cases:
                try:
                    highest = max(int(read_mask(path).max()) for path in case.masks)
                except ImageError:
                    continue  # told by the check
                if highest > 0:
                    return (0, 1) if highest == 1 else (0, 255)
        return self.labels.values

    def load(self, case: Case) -> Sample:
        """Read a case; several masks are united, the higher class above the lower. Raises UserError.

        Masks are brought to the orientation of their image, which stays as stored.
        """
        image, header = self._read_image(case)
        masks = []
        for path in case.masks:
            with self._naming(path):
                masks.append(self.read_mask(path, header)[0])
        return Sample(image, np.maximum.reduce(masks), header.spacing, header.affine)

    def load_image(self, case: Case) -> Sample:
        """Read the image of a case, as stored, and none of its masks. Raises UserError."""
        image, header = self._read_image(case)
        return Sample(image, None, header.spacing, header.affine)

    def _read_image(self, case: Case) -> tuple[np.ndarray, Header]:
        """The values of an image and what its file says of them."""
        with self._naming(case.image):
            image = read_image(case.image)
            return image, replace(read_header(case.image), shape=image.shape[:-1])

    @contextmanager
    def _naming(self, path: Path) -> Iterator[None]:
        """Say which file is at fault where the block finds one."""
        try:
            yield
        except ImageError as error:
            raise UserError(f"{self.name}: {path}: {error}") from error

    def scale(self, cases: Iterable[Case]) -> Scale | None:
        """Black and white of the images of these cases; None where that is not known."""
        return scale_of_files((case.image for case in cases), self.range)

    def read_mask(self, path: Path, image: Header | None) -> tuple[np.ndarray, bool]:
        """`read_indices` of one mask file by this dataset's labels; `image` is the header of its image."""
        return read_indices(path, self.labels, image, self.scaled_masks)

    def path_below(self, path: Path) -> str:
        """A file's path below the root, with slashes."""
        assert self.root is not None
        return path.relative_to(self.root).as_posix()

    def digest(self, case: Case) -> bytes:
        """A hash of the case's contents."""
        files = (case.image, *case.masks)
        return hashlib.sha256(b"".join(content_digest(path) for path in files)).digest()

    def test_ids(self) -> list[str]:
        """The fixed test part: that of the user's file, a fold, the published one, or by group nearly 30 %.

        It depends on neither the run's seed nor n_labelled. Raises TooFew where there are fewer groups than folds.
        """
        if self.own_split:
            return sorted(self.own_split["test"])
        if self.published_test and not self.folds:
            return sorted(self.published_test)
        published = self.published_groups()
        sizes = Counter(case.group for case in self.cases if case.group not in published)
        chosen = fold_groups(sizes, self.folds) if self.folds else held_out_groups(sizes)
        return [case.id for case in self.cases if case.group in chosen]

    def select_cases(self, ids: Iterable[str]) -> list[Case]:
        """The cases of these ids, in the order of the dataset."""
        chosen = set(ids)
        return [case for case in self.cases if case.id in chosen]

    def published_groups(self) -> set[str]:
        """The groups that the publisher tests on."""
        return {case.group for case in self.cases if case.id in self.published_test}


@dataclass
class PhantomDataset(Dataset):
    """Cases drawn when they are loaded; nothing lies on disk."""

    recipe: Mapping[str, Any] = field(default_factory=dict)  # kind, domain, size, seed

    def load(self, case: Case) -> Sample:
        """Draw a case; the same recipe and case give the same arrays."""
        from genseg_betty.data.phantom import draw_phantom  # its filters take long to import

        return draw_phantom(**self.recipe, index=int(case.image.name))

    def load_image(self, case: Case) -> Sample:
        """Draw the image of a case; the mask that is drawn with it is dropped."""
        return replace(self.load(case), mask=None)

    def label_values_of(self, cases: Iterable[Case]) -> tuple[LabelValue, ...]:
        """Phantoms have no files; their masks are written with 0 and 255."""
        return self.labels.values

    def scale(self, cases: Iterable[Case]) -> Scale | None:
        """Phantoms are drawn as 8-bit images."""
        return EIGHT_BIT

    def digest(self, case: Case) -> bytes:
        """A hash of the case's arrays."""
        sample = self.load(case)
        assert sample.mask is not None
        return hashlib.sha256(sample.image.tobytes() + sample.mask.tobytes()).digest()
