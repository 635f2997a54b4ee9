"""`genseg data`: list the data sets, check one, show it, fetch it."""

import argparse
import difflib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genseg_betty.commands.shared import (
    Action,
    add_config_dir,
    add_json,
    counted,
    dataset_config,
    found_dataset,
    positive,
)
from genseg_betty.errors import UserError
from genseg_betty.terminal import harmless, say

if TYPE_CHECKING:
    from genseg_betty.data.inspect.check import CheckReport


def data_action(words: Sequence[str]) -> str:
    """The action that is asked for. `--help` prints what there is and exits; misuse exits with 2."""
    word = words[0] if words else ""
    if word in ACTIONS:
        return word
    lines = ["usage: genseg data ACTION …    (genseg data ACTION --help)", "", "actions:"]
    lines += [f"  {name:8}{text}" for name, (text, _, _) in ACTIONS.items()]
    if word in ("-h", "--help"):
        print("\n".join(lines))
        sys.exit(0)
    alike = difflib.get_close_matches(word, ACTIONS, n=1)
    hint = f"; did you mean {alike[0]}?" if alike else ""
    fault = f"{word!r} is none of the actions{hint}" if word else "an action is required"
    print("\n".join([*lines, "", f"genseg data: {fault}"]), file=sys.stderr)
    sys.exit(2)


def _dataset_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help="a name out of `genseg data list`")
    parser.add_argument(
        "keys", metavar="KEY=VALUE", nargs="*", default=[], help="keys of the data set, such as root=DIR"
    )
    add_config_dir(parser)


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    _dataset_arguments(parser)
    parser.add_argument("--all", action="store_true", help="a line for every file, not one for each kind of fault")
    add_json(parser)


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    _dataset_arguments(parser)
    parser.add_argument("--out", metavar="PNG", type=Path, required=True, help="the picture to write")
    parser.add_argument("--count", type=positive, default=24, help="number of cases (default 24)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other cases (default 0)")


def _list(options: argparse.Namespace) -> None:
    from genseg_betty.config import dataset_names, load_dataset_config, user_folder

    folder = user_folder(options.config_dir)
    rows, faults = [("name", "task", "modality", "pairs", "where")], []
    for name in dataset_names(folder):
        try:
            config = load_dataset_config(name, config_dir=folder)
        except UserError as error:
            faults.append(str(error))
            rows.append((name, "", "", "faulty", "its YAML cannot be used, see below"))
        else:
            rows.append((config.name, config.task, config.modality, *_found(config)))
    say(*_columns(rows))
    if faults:
        raise UserError("\n".join(faults))


def _check(options: argparse.Namespace) -> int:
    from genseg_betty.data.cases import require_root

    config = dataset_config(options)
    with redirect_stdout(sys.stderr):
        try:
            require_root(config)
            from genseg_betty.data.inspect.check import check_dataset

            with _told(f"reading {config.name}") as tell:
                report = check_dataset(config, tell)
        except UserError as error:  # there is no folder
            if not options.json:
                raise
            report = _nothing_found(config.name, error)
    if options.json:
        print(json.dumps(report.to_dict()))
    else:
        _print_report(report, options.all)
    return 1 if report.errors else 0


def _print_report(report: "CheckReport", every_file: bool) -> None:
    """The faults of a data set, those of one kind in one line unless `every_file` is to have its own."""
    from genseg_betty.data.source.files import merge_findings

    say(f"{report.dataset} in {report.root or 'no folder (made, not read)'}: {report.pairs} pairs")
    say(*(f"note: {note}" for note in report.notes))
    levels = {"error": report.errors, "warning": report.warnings}
    if every_file:
        rows = [(level, fault.code, fault.file, fault.message) for level in levels for fault in levels[level]]
        lines = _columns(rows)
    else:
        lines = [f"{level}: {line}" for level in levels for line in merge_findings(levels[level])]
    counts = f"{counted(report.errors, 'error')}, {counted(report.warnings, 'warning')}"
    if len(lines) < len(report.errors) + len(report.warnings):
        counts += " (--all lists every file)"
    say(*lines, counts)


def _show(options: argparse.Namespace) -> None:
    from genseg_betty.data.cases import scan_dataset

    config = found_dataset(options)
    from genseg_betty.data.inspect.contact_sheet import draw_contact_sheet

    dataset, findings = scan_dataset(config)
    shown = draw_contact_sheet(dataset, options.out, options.count, options.seed, config.title or None)
    say(f"{counted(shown, 'case')} in {options.out}")
    if findings:
        say(f"{counted(findings, 'fault')} beside them: genseg data check {options.dataset}", file=sys.stderr)


def _fetch(options: argparse.Namespace) -> None:
    from genseg_betty.data.fetch import Screen, fetch_dataset

    config = dataset_config(options)
    with Screen() as screen:
        place = fetch_dataset(config, Path(config.root) if config.root else None, screen)
    say(place)


ACTIONS: dict[str, Action] = {
    "list": ("Every data set, with the labelled images found of it.", add_config_dir, _list),
    "check": ("Every fault of a data set; exit status 1 if any is an error.", _check_arguments, _check),
    "show": ("A picture of a data set's cases, each with the outlines of its mask.", _show_arguments, _show),
    "fetch": ("Download a data set, or say where to get it and what to put where.", _dataset_arguments, _fetch),
}


def _nothing_found(name: str, error: UserError) -> "CheckReport":
    from genseg_betty.data.inspect.check import CheckReport
    from genseg_betty.data.source.files import Finding

    return CheckReport(name, None, 0, [Finding("too_few", ".", str(error))], [])


@contextmanager
def _told(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while the block runs, gone afterwards; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(harmless(title), markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _found(config: Any) -> tuple[str, str]:
    """How many labelled images there are, and where."""
    from genseg_betty.data.cases import require_root, scan_dataset

    try:
        require_root(config)
    except UserError:
        return "not found", f"looked in {config.root or f'$GENSEG_DATA/{config.name} and data/{config.name}'}"
    try:
        dataset, findings = scan_dataset(config, converting=False)
    except UserError as error:
        return "faulty", str(error).splitlines()[0]
    faults = f" ({counted(findings, 'fault')}: genseg data check {config.name})" if findings else ""
    return str(len(dataset.cases)), f"{dataset.root or 'made, not read'}{faults}"


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """One line a row, columns aligned, however wide."""
    table = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
    return ["  ".join(row).rstrip() for row in padded]
