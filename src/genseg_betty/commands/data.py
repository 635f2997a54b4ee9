"""`genseg data`: list the data sets, check one, show it, fetch it."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genseg_betty.commands.shared import (
    Action,
    add_config_dir,
    add_json,
    load_named_dataset,
    load_present_dataset,
    parse_positive,
)
from genseg_betty.errors import UserError
from genseg_betty.faults import count_things
from genseg_betty.terminal import align_columns, harmless, say

if TYPE_CHECKING:
    from genseg_betty.data.inspect.check import CheckReport


def _add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help="a name out of `genseg data list`")
    parser.add_argument(
        "keys", metavar="KEY=VALUE", nargs="*", default=[], help="keys of the data set, such as root=DIR"
    )
    add_config_dir(parser)


def _add_check_arguments(parser: argparse.ArgumentParser) -> None:
    _add_dataset_arguments(parser)
    parser.add_argument("--all", action="store_true", help="a line for every file, not one for each kind of fault")
    add_json(parser)


def _add_show_arguments(parser: argparse.ArgumentParser) -> None:
    _add_dataset_arguments(parser)
    parser.add_argument("--out", metavar="PNG", type=Path, required=True, help="the picture to write")
    parser.add_argument("--count", type=parse_positive, default=24, help="number of cases (default 24)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other cases (default 0)")


def _list_datasets(options: argparse.Namespace) -> None:
    from genseg_betty.config import dataset_names, load_dataset_config, user_folder

    folder = user_folder(options.config_dir)
    rows = [("name", "task", "modality", "pairs", "where")]
    faults = []
    for name in dataset_names(folder):
        try:
            config = load_dataset_config(name, config_dir=folder)
        except UserError as error:
            faults.append(str(error))
            rows.append((name, "", "", "faulty", "its YAML cannot be used, see below"))
        else:
            pairs, place = _find_pairs(config)
            rows.append((config.name, config.task, config.modality, pairs, place))
    say(*align_columns(rows))
    if faults:
        raise UserError("\n".join(faults))


def _find_pairs(config: Any) -> tuple[str, str]:
    """How many labelled images there are, and where."""
    from genseg_betty.data.cases import require_root, scan_dataset

    try:
        require_root(config)
    except UserError:
        places = config.root or f"$GENSEG_DATA/{config.name} and data/{config.name}"
        return "not found", f"looked in {places}"
    try:
        dataset, findings = scan_dataset(config, converting=False)
    except UserError as error:
        return "faulty", str(error).splitlines()[0]
    place = str(dataset.root or "made, not read")
    if findings:
        faults = count_things(findings, "fault")
        place += f" ({faults}: genseg data check {config.name})"
    return str(len(dataset.cases)), place


def _check_dataset(options: argparse.Namespace) -> int:
    config = load_named_dataset(options)
    with redirect_stdout(sys.stderr):
        try:
            report = _make_report(config)
        except UserError as error:  # there is no folder
            if not options.json:
                raise
            report = _make_empty_report(config.name, error)
    if options.json:
        print(json.dumps(report.to_dict()))
    else:
        _print_report(report, options.all)
    return 1 if report.errors else 0


def _make_report(config: Any) -> "CheckReport":
    """Every fault of a data set. Raises UserError where its folder is not there."""
    from genseg_betty.data.cases import require_root

    require_root(config)
    from genseg_betty.data.inspect.check import check_dataset

    with _show_progress(f"reading {config.name}") as tell:
        return check_dataset(config, tell)


def _make_empty_report(name: str, error: UserError) -> "CheckReport":
    """The report on a data set of which nothing is found."""
    from genseg_betty.data.inspect.check import CheckReport
    from genseg_betty.data.source.files import Finding

    return CheckReport(name, None, 0, [Finding("too_few", ".", str(error))], [])


def _print_report(report: "CheckReport", every_file: bool) -> None:
    """The faults of a data set, those of one kind in one line unless `every_file` is to have its own."""
    from genseg_betty.data.source.files import merge_findings

    place = report.root or "no folder (made, not read)"
    notes = [f"note: {note}" for note in report.notes]
    say(f"{report.dataset} in {place}: {report.pairs} pairs")
    say(*notes)
    rows = []
    lines = []
    for level, faults in (("error", report.errors), ("warning", report.warnings)):
        rows += [(level, fault.code, fault.file, fault.message) for fault in faults]
        lines += [f"{level}: {line}" for line in merge_findings(faults)]
    if every_file:
        lines = align_columns(rows)
    errors = count_things(report.errors, "error")
    warnings = count_things(report.warnings, "warning")
    hint = " (--all lists every file)" if len(lines) < len(rows) else ""
    say(*lines, f"{errors}, {warnings}{hint}")


def _show_cases(options: argparse.Namespace) -> None:
    from genseg_betty.data.cases import scan_dataset

    config = load_present_dataset(options)
    from genseg_betty.data.inspect.contact_sheet import draw_contact_sheet

    dataset, findings = scan_dataset(config)
    shown = draw_contact_sheet(dataset, options.out, options.count, options.seed, config.title or None)
    cases = count_things(shown, "case")
    say(f"{cases} in {options.out}")
    if findings:
        faults = count_things(findings, "fault")
        say(f"{faults} beside them: genseg data check {options.dataset}", file=sys.stderr)


def _fetch_dataset(options: argparse.Namespace) -> None:
    from genseg_betty.data.fetch import Screen, fetch_dataset

    config = load_named_dataset(options)
    root = Path(config.root) if config.root else None
    with Screen() as screen:
        place = fetch_dataset(config, root, screen)
    say(place)


ACTIONS: dict[str, Action] = {
    "list": ("Every data set, with the labelled images found of it.", add_config_dir, _list_datasets),
    "check": ("Every fault of a data set; exit status 1 if any is an error.", _add_check_arguments, _check_dataset),
    "show": ("A picture of a data set's cases, each with the outlines of its mask.", _add_show_arguments, _show_cases),
    "fetch": (
        "Download a data set, or say where to get it and what to put where.",
        _add_dataset_arguments,
        _fetch_dataset,
    ),
}


@contextmanager
def _show_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while the block runs, gone afterwards; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(harmless(title), markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    is_hidden = not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=is_hidden) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
