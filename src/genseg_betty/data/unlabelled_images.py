"""The images that a semi-supervised method sees without masks: chosen, read, and added to the data of a run."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from genseg_betty.data.bundle import DataBundle
from genseg_betty.data.cache.case_digests import CaseDigests
from genseg_betty.data.cache.images import ImageReader
from genseg_betty.data.cache.ledger import Ledger, code_version
from genseg_betty.data.cache.prepared import CachedReader
from genseg_betty.data.cache.store import Cache
from genseg_betty.data.formats import is_image_file
from genseg_betty.data.source.case import Case
from genseg_betty.data.source.dataset import Dataset
from genseg_betty.data.source.folds import shuffled
from genseg_betty.data.split.unlabelled import choose_unlabelled, list_held_out
from genseg_betty.data.splits import join_copies
from genseg_betty.data.unlabelled import UnlabelledSet
from genseg_betty.errors import UserError
from genseg_betty.files import is_hidden

MOST = 1000  # images, where `unlabelled` gives no number


def add_unlabelled(bundle: DataBundle, reader: CachedReader, cache: Cache, config: DictConfig) -> None:
    """Add the images that `config.unlabelled` asks for to a bundle, as its preprocessing reads them, and to its splits.

    A number, or null for up to `MOST`: of the dataset's training part, those that are not labelled; their masks are not
    read. A path: the images in that folder. None of them is validated or tested on, be it under another name; nor, of
    a folder, is it an image of the dataset whose patient is. Raises UserError where there are none.
    """
    asked = config.get("unlabelled")
    n_test = config.dataset.get("n_test")
    held_out = _hash_held_out(bundle, cache)
    if isinstance(asked, str):
        dataset, cases = _list_folder(Path(asked).expanduser(), bundle.dataset, config.seed)
        digests = CaseDigests(dataset, Ledger(cache, code_version(), str(dataset.root)))
        held_out |= _hash_groups_held_out(bundle, reader, n_test)
    else:
        dataset, digests = bundle.dataset, reader.digests
        most = MOST if asked is None else asked
        joined = join_copies(dataset)
        cases = choose_unlabelled(joined, bundle.splits, n_test, most, config.seed)

    contents = digests.hash_images(cases)
    cases = [case for case in cases if contents[case.id] not in held_out]
    if not cases:
        raise UserError(_describe_none(asked, bundle))
    images = ImageReader(
        dataset=dataset,
        cache=cache if dataset.root else Cache(None),
        digests=digests,
        contents=contents,
        orientation=reader.orientation,
        rescales=dataset is not bundle.dataset,
    )
    tensors = images.read_tensors(cases, bundle.preprocessing)
    size = bundle.preprocessing.image_size
    is_whole = tuple(tensors.shape[2:]) == size
    ids = [case.id for case in cases]
    bundle.unlabelled = UnlabelledSet(ids, tensors, patch=None if is_whole else size)
    bundle.splits.unlabelled = ids
    bundle.contents |= {id: contents[id] for id in ids}


def _list_folder(folder: Path, like: Dataset, seed: int) -> tuple[Dataset, list[Case]]:
    """The images in a folder, at most `MOST` in a seeded order, as a dataset of the kind of `like`."""
    if not folder.is_dir():
        raise UserError(
            f"unlabelled={folder}: there is no such folder; expected one with images, a number, or null for the images "
            "of the dataset's training part that are not labelled"
        )
    folder = folder.absolute()
    names = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and not is_hidden(relative) and is_image_file(path):
            names.append(relative.as_posix())
    name = f"unlabelled images in {folder}"
    cases = [_build_case(folder, relative, name) for relative in shuffled(names, seed)[:MOST]]
    dataset = Dataset(name, folder, [], [], like.labels, like.metric, range=like.range)
    return dataset, cases


def _build_case(folder: Path, relative: str, dataset: str) -> Case:
    """An image of a folder; its id is that of no labelled case."""
    id = f"unlabelled:{relative}"
    return Case(id, folder / relative, masks=(), group=id, dataset=dataset)


def _hash_held_out(bundle: DataBundle, cache: Cache) -> set[str]:
    """The contents of the images that are validated or tested on, of the dataset itself and of all others."""
    held_out = {bundle.contents[id] for id in bundle.validation.ids}
    for dataset, cases in bundle.test.values():
        if dataset.root is None:  # drawn for each number anew: no two are alike
            continue
        ledger = Ledger(cache, code_version(), str(dataset.root))
        digests = CaseDigests(dataset, ledger).hash_images(_without_masks(cases))
        held_out.update(digests.values())
        ledger.save()
    return held_out


def _hash_groups_held_out(bundle: DataBundle, reader: CachedReader, n_test: int | None) -> set[str]:
    """The contents of all images of the dataset whose group is validated or tested on, be they in use or set aside.

    They are looked for in a folder, which may be that of the dataset's own images.
    """
    if bundle.dataset.root is None:
        return set()
    cases = list_held_out(join_copies(bundle.dataset), bundle.splits, n_test)
    return {*reader.digests.hash_images(cases).values()}


def _without_masks(cases: Iterable[Case]) -> list[Case]:
    return [replace(case, masks=()) for case in cases]


def _describe_none(asked: object, bundle: DataBundle) -> str:
    if isinstance(asked, str):
        return (
            f"unlabelled={asked}: no image lies there that is not validated or tested on as well; expected a folder "
            "with images of the kind that is trained on"
        )
    labelled = len(bundle.train) + len(bundle.validation)
    return (
        f"no images are left without labels: all of the training part of {bundle.dataset.name} are labelled (dataset."
        f"n_labelled={labelled}), or belong to patients that are validated or tested on. Set dataset.n_labelled lower, "
        "or name a folder of images with unlabelled=DIR"
    )
