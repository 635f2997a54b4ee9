"""Masks for image files: every input gets one mask file under the output folder, and its rows in predict.csv."""

import errno
import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from genseg_betty.data.formats import Header, content_digest, write_mask, write_volume
from genseg_betty.data.formats.place import orientation_of
from genseg_betty.data.places import note_of_turned
from genseg_betty.device import is_out_of_memory
from genseg_betty.errors import UserError
from genseg_betty.faults import list_below, merge_alike
from genseg_betty.files import is_full, remove_leftovers, whole_file
from genseg_betty.inference.prediction.case_files import (
    OVERLAY,
    PROBABILITIES,
    UNCERTAINTY,
    choose_endings,
    write_extras,
)
from genseg_betty.inference.prediction.doubts import gather_doubts
from genseg_betty.inference.prediction.ensemble import Ensemble
from genseg_betty.inference.prediction.palette import choose_palette
from genseg_betty.inference.prediction.results import PredictedImage, make_rows, read_classes
from genseg_betty.inference.prediction.table import PredictionTable, Row, digest_files
from genseg_betty.inference.prediction_jobs import Job, note_of_files_beside_slices, notes_of_earlier_files, plan_jobs
from genseg_betty.inference.saved_networks import load
from genseg_betty.progress import Progress
from genseg_betty.run import Run
from genseg_betty.terminal import print_notes

AnyRun = Run | Path | str
PHASE = "predict"
NO_MEMORY = "it does not fit into the memory that is left: scale it down, crop it, or use a larger machine"


def predict_images(
    run: AnyRun | Sequence[AnyRun],
    paths: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    device: str = "auto",
    trust: bool = False,
    tta: bool = False,
    overlay: bool = False,
    probabilities: bool = False,
    uncertainty: bool = False,
) -> list[PredictedImage]:
    """Predict image files and folders with one Run, or with several at once; returns what became of each image.

    A mask has the stem and the size of its image (turned upright as its EXIF tag says) and the label values of the
    training files: a PNG with a palette, of volumes NIfTI in the place of the input. out/predict.csv has a row for each
    image and class. Masks of an earlier call are kept if Runs, options and image are the same, else replaced; inputs
    never are, nothing is written outside `out`, and each file is there as a whole or not at all.

    Args:
        run: a Run or its directory; of several the mean of their probabilities decides.
        paths: image files, and folders that are searched with their subfolders.
        device, trust: those of `load`, for all Runs.
        tta: average over the mirror images of each image too (4 of an image, 8 of a volume).
        overlay, probabilities, uncertainty: whether the files of `prediction.case_files` are written beside the masks.

    Raises UserError before any work for inputs that are missing or would share a mask and for Runs that do not agree,
    and for a disk that takes no more files. An image that cannot be read is a result with its `failure`.
    """
    out = Path(out)
    asked = {OVERLAY: overlay, PROBABILITIES: probabilities, UNCERTAINTY: uncertainty}
    ensemble = _load_runs(run, device, trust, tta)
    volumes = ensemble.preprocessing.spatial_dims == 3
    endings = {name: ending for name, ending in choose_endings(volumes).items() if asked[name]}
    inputs = [paths] if isinstance(paths, Path | str) else paths
    jobs = plan_jobs([Path(path) for path in inputs], out, volumes, endings)
    remove_leftovers([out, *(file.parent for job in jobs for file in job.files.values())])
    work = _Work(out, ensemble, jobs, PredictionTable(out), _digest_options(ensemble, endings))
    return work.predict_all()


def predict_paths(
    run: AnyRun | Sequence[AnyRun],
    paths: list[Path],
    out: Path,
    device: str = "auto",
    trust: bool = False,
    **options: bool,
) -> list[Path]:
    """As `predict_images`, whose `options` these are; returns the masks, those that were there already among them.

    Raises UserError after all the work with a list of the images that could not be read or written.
    """
    results = predict_images(run, paths, out, device=device, trust=trust, **options)
    written = [result.mask for result in results if result.mask is not None]
    failures = [(str(result.image), result.failure) for result in results if result.failure is not None]
    if failures:
        failed = f"{len(failures)} of {len(results)} images failed"
        title = f"{failed}; the other {len(written)} masks are in {out}:"
        raise UserError(list_below(title, merge_alike(failures, "images")))
    return written


def _load_runs(run: AnyRun | Sequence[AnyRun], device: str, trust: bool, tta: bool) -> Ensemble:
    named = [run] if isinstance(run, AnyRun) else list(run)
    if not named:
        raise UserError("Nothing was predicted: no Run was named")
    places = [one.path if isinstance(one, Run) else one for one in named]
    predictors = [load(place, device, trust) for place in places]
    return Ensemble(predictors, [str(place) for place in places], flips=tta)


def _digest_options(ensemble: Ensemble, endings: dict[str, str]) -> str:
    """A digest of all that decides what the files of an image hold, but for the image."""
    text = f"{version('genseg-betty')} {ensemble.compute_digest()} {sorted(endings)}"
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class _Work:
    """All images of one call; `key` is the digest of its Runs and options."""

    out: Path
    ensemble: Ensemble
    jobs: list[Job]
    table: PredictionTable
    key: str

    def predict_all(self) -> list[PredictedImage]:
        """Write all files; an image that cannot be read does not keep the others from being predicted.

        Raises UserError for a disk that takes no more files. The table tells what was done, however the work ends.
        """
        results = self._find_kept()
        print_notes(notes_of_earlier_files(self.jobs, set(results), self.out))
        orientations: list[str | None] = []
        doubts: list[tuple[str, str]] = []
        try:
            with Progress({PHASE: len(self.jobs)}, {PHASE: len(results)}, unit="image") as progress:
                progress.step(PHASE, len(results), {})
                for job in self.jobs:
                    if job.case not in results:
                        results[job.case] = self._predict_job(job, orientations, doubts)
                        progress.step(PHASE, len(results), {})
        except BaseException:
            with suppress(OSError):
                self.table.write(results)
            raise
        self._write_table(results)
        notes = note_of_turned("the input", orientations, self.ensemble.preprocessing.orientation)
        print_notes(notes + note_of_files_beside_slices(self.jobs) + merge_alike(doubts, "images"))
        return [results[job.case] for job in self.jobs]

    def _find_kept(self) -> dict[str, PredictedImage]:
        """The images, by their cases, whose files are there already and would be the same if they were made again."""
        kept = {}
        for job in self.jobs:
            rows = self.table.find_rows(job.case)
            if not rows or not job.mask.exists():
                continue
            with suppress(OSError, UserError, ValueError):  # what cannot be read, or read back, is made again
                if rows[0]["record"] == digest_files(self.key, content_digest(job.image), job.files):
                    kept[job.case] = self._read_result(job, rows, kept=True)
        return kept

    def _predict_job(self, job: Job, orientations: list[str | None], doubts: list[tuple[str, str]]) -> PredictedImage:
        """Write the files of one image. Raises UserError for a disk that takes no more files."""
        start = time.monotonic()
        doubted: list[str] = []
        try:
            with gather_doubts(doubted):
                header, rows = self._write_files(job, start)
            orientations.append(orientation_of(header))
            doubts += [(str(job.image), doubt) for doubt in doubted[:1]]
            self.table.write_sometimes()
            return self._read_result(job, rows)
        except UserError as error:
            reason = str(error)
        except OSError as error:
            if is_full(error) or error.errno == errno.EROFS:
                raise self._explain_unwritable(job, error) from error
            reason = str(error)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = NO_MEMORY
        seconds = time.monotonic() - start
        self.table.replace_rows(job.case, [{"case": job.case, "seconds": f"{seconds:.3f}", "error": reason}])
        return PredictedImage(job.image, seconds=round(seconds, 3), failure=reason)

    def _write_files(self, job: Job, start: float) -> tuple[Header, list[Row]]:
        """Predict one image and write its files, the mask last; returns its header and its rows of the table."""
        preprocessing = self.ensemble.preprocessing
        asked = job.extras
        content = content_digest(job.image)  # before it is read: an image that changes meanwhile is predicted again
        header, image, combined = self.ensemble.predict_file(job.image, PROBABILITIES in asked, UNCERTAINTY in asked)
        write_extras(asked, job.image, image, header.spacing, combined)
        values = preprocessing.to_file_values(combined.labels)
        job.mask.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(job.mask, sync=False) as temporary:
            if preprocessing.spatial_dims == 3:
                write_volume(temporary, values, job.image)
            else:
                write_mask(temporary, values, choose_palette(preprocessing))
        mask = job.mask.relative_to(self.out).as_posix()
        seconds = time.monotonic() - start
        rows = make_rows(job.case, mask, preprocessing.classes, header, combined, seconds)
        record = digest_files(self.key, content, job.files)
        return header, self.table.replace_rows(job.case, [{**row, "record": record} for row in rows])

    def _read_result(self, job: Job, rows: list[Row], kept: bool = False) -> PredictedImage:
        classes = read_classes(rows, self.ensemble.preprocessing.classes)
        seconds = float(rows[0]["seconds"])
        return PredictedImage(job.image, job.mask, classes, seconds, files=dict(job.extras), kept=kept)

    def _write_table(self, results: Mapping[str, PredictedImage]) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self.table.write(results)
        except OSError as error:
            raise UserError(f"{self.table.path} cannot be written ({error.strerror})") from error

    def _explain_unwritable(self, job: Job, error: OSError) -> UserError:
        """The UserError for a disk that takes no more files: the masks after this one would fail as well."""
        there = sum(other.mask.exists() for other in self.jobs)
        return UserError(
            f"masks cannot be written to {job.mask.parent} ({error.strerror}): {there} of {len(self.jobs)} "
            "are there, each of them whole. Make room or name another --out, and give the same command again: "
            "it goes on"
        )
