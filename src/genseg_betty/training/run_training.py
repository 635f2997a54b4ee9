"""One training from a config to a finished Run: data, method, test scores, results.json, report."""

import copy
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from glob import escape
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from genseg_betty.build import build_named
from genseg_betty.config import require_betty
from genseg_betty.config.encoder_weights import require_package
from genseg_betty.config.naming import OPEN, name_count
from genseg_betty.data.loading import DataBundle, load_data
from genseg_betty.device import resolve_device, set_float32
from genseg_betty.errors import Interrupted, UserError
from genseg_betty.faults import list_first
from genseg_betty.files import file_label, is_full
from genseg_betty.inference.case_pictures import keep_pictures
from genseg_betty.inference.predictor import Predictor
from genseg_betty.inference.scoring import score_cases
from genseg_betty.joint_batch import ask_first, joined_processes, require_even_shares
from genseg_betty.memory import reuse_freed
from genseg_betty.ranks import is_first
from genseg_betty.reporting import build_report
from genseg_betty.run import Run
from genseg_betty.run.pictures import PICTURES
from genseg_betty.run.resume import can_continue
from genseg_betty.signals import interruptible, interruption
from genseg_betty.streams import unfailing_streams
from genseg_betty.tracking import Tracker
from genseg_betty.tracking.services import import_service
from genseg_betty.training.case_overlays import draw_case
from genseg_betty.training.console import announce_run, report_results, tell_finished
from genseg_betty.training.facts import collect_facts, list_tags
from genseg_betty.training.method import Method
from genseg_betty.training.several_processes import require_divisible, start_run
from genseg_betty.training.warm_start import require_beginning


def train(config: DictConfig) -> Run:
    """Train what `config` says in the directory `config.run_dir`, resuming there as `config.resume` says.

    Raises:
        UserError: for all that the user can mend (data, device, a directory in use, divergence).
        Interrupted: SIGINT, SIGTERM, SIGHUP or SIGUSR2 came; the checkpoint is written.
    """
    require_betty()
    device = resolve_device(config.device)
    set_float32(config.precision)
    reuse_freed()
    if not _may_continue(config):
        require_package(config.backbone.get("encoder_weights"))  # before any data are read
    import_service(config.logger.name)  # it may not be installed
    with unfailing_streams(), interruptible():
        method: Method = build_named(config.method)  # before any data: what it needs may not be installed
        require_divisible(config, method)
        require_fitting_unlabelled(config, method.uses_unlabelled)
        data = load_data(config, reads_unlabelled=method.uses_unlabelled)
        require_even_shares(data.settings.batch_size)
        with joined_processes(device):
            return _train_on(data, set_count(config, data), method)


def _may_continue(config: DictConfig) -> bool:
    """Whether the training may go on from a checkpoint, as far as is known before the data are read."""
    run_dir = Path(config.run_dir).expanduser()
    places = [run_dir]
    if OPEN in run_dir.name:  # the data will say how many images are labelled
        pattern = name_count(escape(run_dir.name), "*")
        places += run_dir.parent.glob(pattern)
    return any(can_continue(place, config.resume) for place in places)


def set_count(config: DictConfig, data: DataBundle) -> DictConfig:
    """The config with the number of labelled images in force, in the Run's name too, where the data decide on it.

    A Run that an earlier version named goes on as it is.
    """
    user_named = "run_dir" in (config.get("origins") or {})
    is_open = OPEN in str(config.run_dir) and not user_named
    if not is_open or config.dataset.n_labelled is not None or Path(config.run_dir).expanduser().is_dir():
        return config
    count = len(data.splits.train) + len(data.splits.validation)
    config = copy.deepcopy(config)
    config.dataset.n_labelled = count
    config.run_dir = name_count(config.run_dir, count)
    return config


def require_fitting_unlabelled(config: DictConfig, uses_unlabelled: bool) -> None:
    """Raise UserError for images without masks that the method would not see, or for none where it needs some."""
    name, asked = config.method.name, config.get("unlabelled")
    if uses_unlabelled and asked == 0:
        raise UserError(
            f"unlabelled=0: method={name} learns from images without masks too; expected a number from 1 on, a folder "
            "of images, or null for up to 1000 of the dataset's training part that are not labelled"
        )
    if not uses_unlabelled and asked is not None:
        raise UserError(
            f"unlabelled={asked}: method={name} learns from labelled images alone; leave it out, or choose a method "
            "that sees images without masks, such as cross_teaching"
        )


def _train_on(data: DataBundle, config: DictConfig, method: Method) -> Run:
    splits = list_splits(data)

    def require_same(run: Run) -> None:
        require_same_data(run, splits)
        method.check_continuing(run)

    if not can_continue(Path(config.run_dir).expanduser(), config.resume):
        require_beginning(config, method.describe_warm_up(config, data))  # before the directory is touched
    with start_run(config, require_same) as run:
        if ask_first(partial(is_complete, run)):
            tell_finished(run)
            return run
        announce_run(run, data, method.has_generator, method.learns_architecture, method.trains_backbone)
        try:
            _fit_and_test(run, method, data, splits)
        except BaseException as error:
            with interruption(), suppress(OSError, UserError):  # nothing must hide how the training ended
                _record_end(run, error)
            if is_full(error):
                raise UserError(
                    f"the disk is full ({error}). What was written before is whole: make room and give the same "
                    "command again, and the training goes on from its last checkpoint."
                ) from error
            raise
        run.status("finished", message="done")
    return run


def _record_end(run: Run, error: BaseException) -> None:
    """status.json of a training that did not come to its end."""
    if isinstance(error, SystemExit):  # of a launcher's handler, which has queued the job anew
        run.status("interrupted", message="a launcher ended the process")
    elif isinstance(error, Interrupted | KeyboardInterrupt):
        run.status("interrupted", message=str(error) or "interrupted")
    else:
        run.status("failed", message=f"{type(error).__name__}: {error}")


def _fit_and_test(run: Run, method: Method, data: DataBundle, splits: dict[str, Any]) -> None:
    """Train, test, and write all that the Run ends with; of several processes the first one tests and writes."""
    run.status("running", message="training")
    run.write_json("splits.json", splits)
    run.write_json("fingerprint.json", data.fingerprint.to_dict(data.settings))
    logger = run.config.logger if is_first() else {}  # of several processes the first one alone tells
    with Tracker(run, logger, list_tags(run.config, method)) as tracker:
        predictor, findings = method.fit(run, data, tracker)
        if not is_first():
            return
        run.status("running", message="testing")
        tested = {}
        if findings["iterations"]:  # an untrained segmenter has no score
            tested = score_test_sets(run, data, predictor)
        results = {**collect_facts(run, data, method), **findings, "test": tested}
        results["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        run.write_json("results.json", results)
        build_report([run.path], run.path / "report.html")
        report_results(run, results)
        tracker.add_results(results, partial(draw_case, data, predictor))


def is_complete(run: Run) -> bool:
    """Whether the Run was finished before, with as many iterations as are asked for now, and has what it ended with."""
    if not run.resuming or run.read_status().get("state") != "finished":
        return False
    results = run.read_results()
    asked = results.get("iterations_asked", run.config.trainer.iterations)  # of a method with a count of its own
    if results.get("iterations") != asked:
        return False
    networks = ["predictor", "generator"] if results.get("generator") else ["predictor"]
    checkpoints = run.path / "checkpoints"
    return all((checkpoints / f"{name}.pt").exists() for name in networks)


def score_test_sets(run: Run, data: DataBundle, predictor: Predictor) -> dict[str, dict[str, Any]]:
    """Score every test set at the size of its own masks; one CSV each, and pictures of some cases for the report."""
    scores = {}
    pictures = {}
    for name, (dataset, cases) in data.test.items():
        rows, summary = score_cases(predictor, dataset, cases)
        label = file_label(name)
        run.write_test(label, rows)
        scores[name] = summary
        pictures[label] = keep_pictures(run.samples_dir, label, predictor, dataset, cases, rows)
    run.write_json(PICTURES, pictures)
    return scores


def require_same_data(run: Run, splits: dict[str, Any]) -> None:
    """Raise UserError where a Run would go on with other training or validation images than it began with.

    Files that came or went since may have given the cases other parts: what was trained on could be tested on.
    """
    before = {"data_sha256": splits["data_sha256"], **run.read_splits()}  # older Runs have none
    parts = ("train", "validation", "unlabelled", "sha256", "data_sha256")
    if all(before.get(part) == splits.get(part) for part in parts):
        return
    old = {*before["train"], *before["validation"], *before.get("unlabelled", [])}
    new = {*splits["train"], *splits["validation"], *splits.get("unlabelled", [])}
    added = list_first(sorted(new - old)) or "none"
    gone = list_first(sorted(old - new)) or "none"
    raise UserError(
        f"{run.path} began with other images than the dataset has now (of its labelled ones, new: {added}; gone: "
        f"{gone}; or their content, masks or part changed). Bring the files back, or start anew with "
        "resume=restart or another run_dir."
    )


def list_splits(data: DataBundle) -> dict[str, Any]:
    """splits.json: the case ids of train, validation and test, and the content of those that were learned from."""
    splits = data.splits
    unlabelled = {} if data.unlabelled is None else {"unlabelled": splits.unlabelled}
    return {
        "train": splits.train,
        "validation": splits.validation,
        "test": splits.test,
        **unlabelled,
        "dataset": data.dataset.name,
        "root": str(data.dataset.root) if data.dataset.root else None,
        "sha256": data.contents,
        "data_sha256": data.sha256,
    }
