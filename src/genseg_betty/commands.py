"""The verbs beside training: what they take, and which part of the package does the work.

Each imports what it needs when it runs, so that `--help` answers at once.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from genseg_betty.errors import UserError

VERBS = {
    "predict": "masks for images or folders of images",
    "generate": "synthetic image-mask pairs",
    "evaluate": "score a Run on other data",
    "report": "one HTML page about one or more Runs",
    "data": "list the data sets, or check one for faults",
}
RUN_HELP = "directory of a Run, such as outputs/phantom-unet-…"
DEVICES = ("auto", "cpu", "cuda")


def run_command(arguments: Sequence[str]) -> int:
    """Run the verb that `arguments` begin with; returns the exit status. Misuse exits with 2 and usage."""
    verb, *rest = arguments
    if verb == "data":
        verb, rest = f"data {_data_action(rest[:1])}", rest[1:]
    text, add_arguments, command = _COMMANDS[verb]
    parser = argparse.ArgumentParser(prog=f"genseg {verb}", description=text, allow_abbrev=False)
    add_arguments(parser)
    return command(parser.parse_intermixed_args(rest)) or 0


def _data_action(words: Sequence[str]) -> str:
    parser = argparse.ArgumentParser(
        prog="genseg data",
        usage="genseg data list | check DATASET …",
        description="list: every data set, with what is found of it. check: every fault of one.",
    )
    parser.add_argument("action", choices=("list", "check"))
    action: str = parser.parse_args(words).action
    return action


def _predict_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", metavar="RUN", type=Path, help=RUN_HELP)
    parser.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="image or folder of images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the masks: PNG, same stem and size")
    parser.add_argument("--device", choices=DEVICES, default="auto")


def _generate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", metavar="RUN", type=Path, help=f"{RUN_HELP}, trained with a generator")
    parser.add_argument("--count", type=_positive, required=True, help="number of pairs")
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder for images/ and masks/")
    parser.add_argument("--format", choices=("folder",), default="folder", help="what dataset=folder reads")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other pairs (default 0)")
    parser.add_argument("--strongest", action="store_true", help="use each cell's strongest operation alone")
    parser.add_argument("--device", choices=DEVICES, default="auto")


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", metavar="RUN", type=Path, help=RUN_HELP)
    parser.add_argument("--dataset", metavar="NAME", help="a data set that `genseg data list` names")
    parser.add_argument("keys", metavar="KEY=VALUE", nargs="*", help="keys of it, such as root=DIR n_test=50")
    parser.add_argument("--images", type=Path, metavar="DIR", help="instead of --dataset: folder of images")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="and the folder of their masks, same stems")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    _add_json(parser)
    _add_config_dir(parser)


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", metavar="RUN", type=Path, nargs="+", help=RUN_HELP)
    parser.add_argument("--out", metavar="FILE.html", type=Path, required=True, help="FILE.csv comes with it")


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help="a name out of `genseg data list`")
    parser.add_argument("keys", metavar="KEY=VALUE", nargs="*", help="keys of the data set, such as root=DIR")
    _add_json(parser)
    _add_config_dir(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def _add_config_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-dir", metavar="DIR", help="your own YAML files, laid out as conf/")


def _predict(options: argparse.Namespace) -> None:
    from genseg_betty.inference import predict_paths

    written = predict_paths(options.trained, options.paths, options.out, options.device)
    print(f"{_count(written, 'mask')} in {options.out}")


def _generate(options: argparse.Namespace) -> None:
    from genseg_betty.inference import generate

    run, count, out = options.trained, options.count, options.out
    generate(run, count, out, options.format, options.seed, options.strongest, options.device)
    print(f"{_count(range(count), 'pair')} in {out}")


def _evaluate(options: argparse.Namespace) -> None:
    folders = [folder for folder in (options.images, options.masks) if folder is not None]
    if len(folders) != (0 if options.dataset else 2):
        raise UserError("evaluate: give either --dataset NAME, or --images DIR and --masks DIR together")
    if options.keys and not options.dataset:
        raise UserError(f"evaluate: {' '.join(options.keys)} belongs to --dataset NAME, which is not given")
    with redirect_stdout(sys.stderr):
        from genseg_betty.inference import evaluate_dataset, evaluate_folders

        if options.dataset:
            result = evaluate_dataset(options.trained, _dataset_config(options), options.device)
        else:
            result = evaluate_folders(options.trained, options.images, options.masks, options.device)
    if options.json:
        print(json.dumps(result.to_dict()))
    else:
        scores = f"Dice {result.dice:.4f}, Jaccard {result.jaccard:.4f}"
        print(f"{result.dataset}: {result.cases} cases, {scores}\nper case: {result.per_case}")


def _report(options: argparse.Namespace) -> None:
    from genseg_betty.report import build_report

    build_report(options.trained, options.out)
    print(options.out)


def _list(options: argparse.Namespace) -> None:
    from genseg_betty.config import dataset_names, load_dataset_config, user_folder

    folder = user_folder(options.config_dir)
    configs = [load_dataset_config(name, config_dir=folder) for name in dataset_names(folder)]
    rows = [(config.name, config.task, config.modality, *_found(config)) for config in configs]
    print("\n".join(_columns([("name", "task", "modality", "pairs", "where"), *rows])))


def _check(options: argparse.Namespace) -> int:
    with redirect_stdout(sys.stderr):
        from genseg_betty.data.check import check_dataset

        config = _dataset_config(options)
        try:
            report = check_dataset(config)
        except UserError as error:  # there is no folder
            if not options.json:
                raise
            report = _nothing_found(config.name, error)
    if options.json:
        print(json.dumps(report.to_dict()))
    else:
        print(f"{report.dataset} in {report.root or 'no folder (made, not read)'}: {report.pairs} pairs")
        rows = [("error", fault.code, fault.file, fault.message) for fault in report.errors]
        rows += [("warning", fault.code, fault.file, fault.message) for fault in report.warnings]
        print("\n".join([*_columns(rows), f"{_count(report.errors, 'error')}, {_count(report.warnings, 'warning')}"]))
    return 1 if report.errors else 0


def _nothing_found(name: str, error: UserError) -> Any:
    from genseg_betty.data.check import CheckReport
    from genseg_betty.data.files import Finding

    return CheckReport(name, None, 0, [Finding("too_few", ".", str(error))], [])


_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[Any], int | None]]] = {
    "predict": ("Masks for images or folders of images.", _predict_arguments, _predict),
    "generate": ("Synthetic image-mask pairs from a Run's generator.", _generate_arguments, _generate),
    "evaluate": ("Score a Run on data that it was not trained on.", _evaluate_arguments, _evaluate),
    "report": ("One self-contained HTML page about one or more Runs.", _report_arguments, _report),
    "data list": ("Every data set, with the labelled images found of it.", _add_config_dir, _list),
    "data check": ("Every fault of a data set; exit status 1 if any is an error.", _check_arguments, _check),
}


def _dataset_config(options: argparse.Namespace) -> Any:
    from genseg_betty.config import load_dataset_config

    return load_dataset_config(options.dataset, config_dir=options.config_dir, overrides=options.keys)


def _found(config: Any) -> tuple[str, str]:
    """How many labelled images there are, and where."""
    from genseg_betty.data.cases import scan_dataset

    try:
        dataset, findings = scan_dataset(config)
    except UserError:
        return "not found", f"looked in {config.root or f'$GENSEG_DATA/{config.name} and data/{config.name}'}"
    faults = f" ({_count(findings, 'fault')}: genseg data check {config.name})" if findings else ""
    return str(len(dataset.cases)), f"{dataset.root or 'made, not read'}{faults}"


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """One line a row, columns aligned, however wide."""
    table = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
    return ["  ".join(row).rstrip() for row in padded]


def _count(things: Sequence[Any], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {number}")
    return number
