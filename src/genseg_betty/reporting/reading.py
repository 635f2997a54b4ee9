"""Read a Run for a report: all that can be read, and a sentence for each piece that cannot."""

import csv
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from genseg_betty.errors import UserError
from genseg_betty.files import require_regular
from genseg_betty.reporting.metric_rows import MetricRows
from genseg_betty.reporting.record import Record
from genseg_betty.reporting.values import as_mapping, as_number
from genseg_betty.run import Run
from genseg_betty.run.checksums import SUMS, explain_damage
from genseg_betty.run.names import DISTANCE_UNIT
from genseg_betty.run.pictures import PICTURES, PicturedCase

CONFIG, STATUS = "config.yaml", "status.json"
SECTIONS = ("dataset", "backbone", "method", "trainer")
"""What the config of a training has."""
MAX_CASES = 2**27
"""Bytes of one table of cases."""
COLUMNS_OF_TEXT = ("id", DISTANCE_UNIT)
"""Of a table of cases; all others hold numbers."""
TABLE_OF_CASES = "test-"
"""What the names of these tables, and of pictures of their cases, begin with; the name of the test set follows."""
FILE_LABEL = re.compile(r"\w[\w.+-]*")
"""What may be a part of a file's name."""


def read_all_records(paths: Sequence[Path]) -> list[Record]:
    """The records of those that are Runs; the others are named in a warning. A Run named twice counts once.

    Of a Run whose config cannot be read there is a record that says so. Raises UserError where no other Run is left.
    """
    if not paths:
        raise UserError("a report needs at least one Run: name run directories")
    records: dict[Path, Record] = {}
    others = []
    for path in paths:
        place = Path(path).expanduser().resolve()
        if not any((place / file).is_file() for file in (CONFIG, STATUS)):
            others.append(str(path))
        elif place not in records:
            records[place] = read_or_explain(place)
    lack = f"there is no Run in {', '.join(others)}"
    broken = ["; ".join(record.faults) for record in records.values() if record.is_broken]
    if len(broken) == len(records):
        advice = f"{lack}: expected {CONFIG} there. Name run directories, as given by run_dir=…"
        raise UserError("\n".join([*broken, advice] if others else broken))

    # What is left out or incomplete is said at once, for the page may be opened much later.
    told = [f"left out of the report: {lack}"] if others else []
    for place, record in records.items():
        if record.faults:
            told.append(f"{place}: {'; '.join(record.faults)}")
    for line in told:
        warnings.warn(line, stacklevel=3)
    return list(records.values())


def read_or_explain(path: Path) -> Record:
    """The record of a Run; where its config cannot be read, one that knows the reason alone."""
    try:
        if not (path / CONFIG).is_file():  # there is a status.json, so it was a Run
            raise explain_damage(path / CONFIG, "it is gone")
        return read_record(path)
    except UserError as error:
        return Record(path=path, config={}, faults=[str(error)], is_broken=True)


def read_record(path: Path) -> Record:
    """Read a Run directory. Raises UserError if it is none (no config.yaml), or its config cannot be read whole."""
    run = Run.open(path)
    _require_whole_config(run)
    faults: list[str] = []
    status = _read_or_note(faults, STATUS, run.read_status, {})
    results = _read_or_note(faults, "results.json", lambda: run.read_results(checked=False), {})
    rows = _read_or_note(faults, "metrics.csv", run.metrics, [])
    cases = _read_all_cases(faults, run.path)
    splits = _read_or_note(faults, "splits.json", lambda: run.read_json("splits.json", checked=False), {})
    pictures = _read_or_note(faults, PICTURES, lambda: run.read_json(PICTURES, checked=False), {})

    # What no file says by itself.
    contradictions = _find_contradictions(run, status, results, as_mapping(splits))
    changes = _find_changes(run, faults)
    return Record(
        path=run.path,
        config=OmegaConf.to_container(run.config),  # type: ignore[arg-type]
        status=status,
        results=results,
        metrics=MetricRows(rows),
        cases=cases,
        samples=find_last_samples(run.path),
        pictures=_parse_pictures(pictures),
        faults=[*faults, *contradictions, *changes],
    )


def _require_whole_config(run: Run) -> None:
    """Raise UserError for a config.yaml that was cut off and is YAML still: it changed, and a section is gone."""
    absent = [section for section in SECTIONS if section not in run.config]
    if not absent:
        return
    changed = []
    with suppress(UserError):  # the checksums cannot be read; that is one of the faults
        changed = run.find_changed_files()
    if CONFIG in changed:
        raise explain_damage(run.path / CONFIG, f"it has no {', '.join(absent)}")


def _read_or_note(faults: list[str], what: str, read: Callable[[], Any], otherwise: Any) -> Any:
    """What `read` finds; where it raises UserError, `otherwise`, with the reason added to `faults`."""
    try:
        return read()
    except UserError as error:
        faults.append(f"{what} cannot be read: {error}")
        return otherwise


def _read_all_cases(faults: list[str], path: Path) -> dict[str, list[dict[str, Any]]]:
    """Test set -> the rows of its table of cases."""
    cases = {}
    for file in sorted(path.glob(f"{TABLE_OF_CASES}*.csv")):
        test_set = file.stem.removeprefix(TABLE_OF_CASES)
        cases[test_set] = _read_or_note(faults, file.name, partial(_read_cases, file), [])
    return cases


def _read_cases(file: Path) -> list[dict[str, Any]]:
    """One row a case: its id, and scores that are numbers or None. Raises UserError for a damaged file."""
    try:
        require_regular(file, MAX_CASES)
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error) as error:
        raise explain_damage(file, f"it cannot be read ({error})") from error
    return [_convert_case(row) for row in rows]


def _convert_case(row: dict[str | Any, Any]) -> dict[str, Any]:
    """The columns of a row that have a name, with numbers in place of text."""
    converted = {}
    for column, value in row.items():
        if column:
            converted[column] = value if column in COLUMNS_OF_TEXT else as_number(value)
    return converted


def _parse_pictures(found: Any) -> dict[str, list[PicturedCase]]:
    """What pictures.json says, as far as it names files of a Run."""
    pictures = {}
    for test_set, cases in as_mapping(found).items():
        parsed = [_parse_picture(case) for case in cases] if isinstance(cases, list) else []
        if FILE_LABEL.fullmatch(test_set):
            pictures[test_set] = [case for case in parsed if case is not None]
    return pictures


def _parse_picture(found: Any) -> PicturedCase | None:
    """A case with pictures; None for what is none."""
    case = as_mapping(found)
    name, id, roles, index = (case.get(field) for field in PicturedCase._fields)
    is_named = isinstance(name, str) and isinstance(id, str) and FILE_LABEL.fullmatch(name)
    if not is_named or not isinstance(roles, list):
        return None
    return PicturedCase(str(name), str(id), tuple(map(str, roles)), index if isinstance(index, int) else None)


def _find_contradictions(
    run: Run, status: dict[str, Any], results: dict[str, Any], splits: dict[str, Any]
) -> list[str]:
    """What the files of a Run say against each other, although each can be read."""
    found = []
    if status.get("state") == "finished" and not (run.path / "results.json").exists():
        found.append("results.json is gone: give the training's command again, which makes it anew")
    digests = {str(part["data_sha256"]) for part in (results, splits) if part.get("data_sha256")}
    if len(digests) > 1:
        found.append("results.json and splits.json are of two trainings: their data_sha256 differ")
    return found


def _find_changes(run: Run, told: list[str]) -> list[str]:
    """At most one line, of the files that are not what the Run wrote, although they can be read."""
    try:
        changed = run.find_changed_files()
    except UserError as error:  # the checksums themselves
        return [str(error)]
    names = [name for name in changed if not any(line.startswith(name) for line in told)]
    if not names:
        return []
    return [f"not as the Run wrote them, by its {SUMS}, or gone: {', '.join(names)}"]


def find_last_samples(path: Path) -> list[Path]:
    """The pictures in samples/ of the latest step, which is the last number in their names."""
    found = sorted((path / "samples").glob("*.png"))
    files = [file for file in found if not file.name.startswith(TABLE_OF_CASES)]  # those of test cases
    steps = [_find_step(file) for file in files]
    last = max(steps, default=-1)
    return [file for file, step in zip(files, steps, strict=True) if step == last]


def _find_step(picture: Path) -> int:
    """The last number in the name of a picture; -1 where there is none."""
    numbers = re.findall(r"\d+", picture.stem)
    return int(numbers[-1]) if numbers else -1
