"""Search over hyper-parameters: Optuna proposes values, each trial is a Run, its validation score is what counts.

Hydra's own sweeper for Optuna wants an old version of it; the loop here asks for values and tells scores. The study is
one file, a journal of JSON lines. A search that was stopped goes on, first with the trial that was under way. Test sets
have no part in it, though every Run is tested as ever.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import genseg_betty
from genseg_betty.config import user_folder
from genseg_betty.config.wording import show
from genseg_betty.errors import UserError
from genseg_betty.files import atomic_write, bounded_json, to_json
from genseg_betty.sweep.cell_training import explain_lost_training, name_for_trackers
from genseg_betty.sweep.searched_values import check_values, read_space, require_same_space
from genseg_betty.sweep.sweep_file import hold_folder
from genseg_betty.terminal import align_columns, say

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from genseg_betty.run import Run

STUDY, RUNS = "study.jsonl", "runs.json"
MOST_BYTES = 2**26
INSTALL = "pip install 'genseg-betty[search]'"


def run_search(
    overrides: Sequence[str], trials: int, folder: Path, config_dir: str | Path | None = None, seed: int = 0
) -> int:
    """Train until `trials` trials have ended, and tell the best. Returns the exit status: 1 where none has a score.

    Args:
        overrides: those with choice(…), range(…) or interval(…) are searched, the others hold for every trial.
        folder: of the study and its report; a search in it goes on.
        seed: of the sampler.

    Raises:
        ConfigError: before anything is trained, if a value is invalid or its data are not there.
        Interrupted: a signal came; the same command goes on with that trial.
    """
    if find_spec("optuna") is None:
        raise UserError(f"genseg search needs Optuna, which is missing: {INSTALL}")
    from optuna.trial import TrialState

    own = user_folder(config_dir)
    fixed, space = read_space(overrides)
    check_values(fixed, space, own)
    with hold_folder(folder):
        study = _open_study(folder)
        require_same_space(study, space, folder)
        for trial in _list_unfinished(study):
            if trial.params.keys() != space.keys():  # it was stopped before it had all its values
                study.tell(trial.number, state=TrialState.FAIL)
                continue
            say(f"trial {trial.number + 1} of {trials} was under way: {_write_values(trial.params)}")
            _train_trial(study, trial.number, trial.params, fixed, folder, own)
        while len(study.trials) < trials:
            _seed_sampler(study, seed)
            asked = study.ask(space)
            say(f"trial {asked.number + 1} of {trials}: {_write_values(asked.params)}")
            _train_trial(study, asked.number, asked.params, fixed, folder, own)
        return _conclude(study, folder)


def _open_study(folder: Path) -> "Study":
    """The study in a folder, which is made if it is not there."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(folder / STUDY)))
    return optuna.create_study(storage=storage, study_name="genseg", direction="maximize", load_if_exists=True)


def _list_unfinished(study: "Study") -> list["FrozenTrial"]:
    from optuna.trial import TrialState

    return study.get_trials(states=(TrialState.RUNNING,))


def _seed_sampler(study: "Study", seed: int) -> None:
    """The next trial depends on the seed and the trials before it alone, not on where a search was stopped."""
    from optuna.samplers import TPESampler

    study.sampler = TPESampler(seed=seed + len(study.trials))


def _train_trial(
    study: "Study",
    number: int,
    params: Mapping[str, Any],
    fixed: Sequence[str],
    folder: Path,
    config_dir: Path | None,
) -> None:
    """Train a trial and tell its score. One that fails has none, and the others go on."""
    from optuna.trial import TrialState

    lines = [f"{key}={value}" for key, value in params.items()]
    try:
        with name_for_trackers(folder.absolute().name):
            run = genseg_betty.train([*fixed, *lines], config_dir)
        score = read_score(run)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        say(f"genseg: trial {number + 1} failed: {explain_lost_training(error)}", file=sys.stderr)
        study.tell(number, state=TrialState.FAIL)
        return
    _keep_run(folder, number, run.path)
    study.tell(number, score)
    say(f"trial {number + 1}: validation {score:.4f}")


def read_score(run: "Run") -> float:
    """The validation score of the weights that the Run ended with: its best or its last. Raises UserError."""
    validation = run.read_results().get("validation", {})
    score = validation.get("best" if run.config.trainer.select == "best" else "last")
    if not isinstance(score, int | float):
        raise UserError(f"{run.path} has no validation score: results.json says {show(score)}")
    return float(score)


def _keep_run(folder: Path, number: int, path: Path) -> None:
    """Keep where the Run of a trial lies."""
    runs = _read_runs(folder) | {str(number): str(path)}
    atomic_write(folder / RUNS, to_json(runs).encode())


def _read_runs(folder: Path) -> dict[str, str]:
    """Number of a trial -> directory of its Run."""
    try:
        found = bounded_json(folder / RUNS, MOST_BYTES)
        return {str(number): str(path) for number, path in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _conclude(study: "Study", folder: Path) -> int:
    """Tell every trial, the best first, and compare their Runs in a report. Returns the exit status."""
    from genseg_betty.sweep.summary import write_report

    scored = [trial for trial in study.trials if trial.value is not None]
    if not scored:
        say("genseg: no trial has a validation score", file=sys.stderr)
        return 1
    scored.sort(key=lambda trial: -float(trial.value or 0.0))
    keys = list(scored[0].params)
    rows = [["trial", *keys, "validation"]]
    for trial in scored:
        values = [str(trial.params.get(key, "")) for key in keys]
        rows.append([str(trial.number + 1), *values, f"{trial.value:.4f}"])
    say(*align_columns(rows))
    say(f"best: {_write_values(scored[0].params)}")
    runs = _read_runs(folder)
    paths = [Path(runs[str(trial.number)]) for trial in scored if str(trial.number) in runs]
    if paths:
        say(f"all of them compared: {write_report(paths, folder)}")
    return 0


def _write_values(params: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in params.items())
