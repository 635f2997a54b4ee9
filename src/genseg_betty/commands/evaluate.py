"""`genseg evaluate`: scores of a Run, or of masks that another tool or a person made, on labelled images."""

import argparse
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from genseg_betty.commands.judging import make_checks, require_output_folder, require_pair_folders, require_runs
from genseg_betty.commands.shared import (
    DEVICES,
    RUN_HELP,
    Action,
    add_config_dir,
    add_json,
    add_trust,
    load_present_dataset,
)
from genseg_betty.config.machine import require_card
from genseg_betty.errors import UserError
from genseg_betty.terminal import say

WITHOUT_RUN = "--predictions DIR scores masks that were made elsewhere, without a Run"


def _add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", metavar="RUN", nargs="?", help=f"{RUN_HELP}; not with --predictions")
    parser.add_argument("--dataset", metavar="NAME", help="a data set that `genseg data list` names")
    parser.add_argument(
        "keys", metavar="KEY=VALUE", nargs="*", default=[], help="keys of it, such as root=DIR n_test=50"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="instead of --dataset: folder of images")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="and the folder of their masks, same stems")
    parser.add_argument(
        "--predictions", type=Path, metavar="DIR", help="masks made elsewhere, same stems; scored without a Run"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for table and page, instead of the Run")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: a GPU where there is one")
    add_trust(parser)
    add_json(parser)
    add_config_dir(parser)


def _evaluate_run(options: argparse.Namespace) -> None:
    _sort_words(options)
    _require_one_source(options)
    folders = [folder for folder in (options.images, options.masks, options.predictions) if folder is not None]
    configs: list[Any] = []

    def load_config() -> None:
        if options.dataset:
            configs.append(load_present_dataset(options))

    make_checks(
        lambda: require_runs([options.trained] if options.trained else []),
        lambda: require_pair_folders(folders),
        lambda: require_output_folder(options.out) if options.out else None,
        load_config,
        lambda: require_card(options.device),
    )
    with redirect_stdout(sys.stderr):
        result = _score_masks(options, configs)
    if options.json:
        print(json.dumps(result.to_dict()))
    else:
        say("\n".join(_describe_result(result)))


def _score_masks(options: argparse.Namespace, configs: list[Any]) -> Any:
    """Call what the options ask for. `configs` holds the data set, if one is named."""
    from genseg_betty.inference import (
        evaluate_dataset,
        evaluate_folders,
        evaluate_prediction_folders,
        evaluate_predictions,
    )

    out, images, masks = options.out, options.images, options.masks
    if options.predictions is not None:
        if configs:
            return evaluate_predictions(options.predictions, configs[0], out=out)
        return evaluate_prediction_folders(options.predictions, masks, images, options.keys, out=out)
    run, device = options.trained, options.device
    if configs:
        return evaluate_dataset(run, configs[0], device, trust=options.trust, out=out)
    return evaluate_folders(run, images, masks, device, trust=options.trust, out=out)


def _describe_result(result: Any) -> list[str]:
    """The lines of the screen."""
    from genseg_betty.metrics.scores import describe_scores, write_mean

    found = result.to_dict()
    scores = f"Dice {write_mean(found, 'dice', 4)}, Jaccard {write_mean(found, 'jaccard', 4)}"
    lines = [f"{result.dataset}: {result.cases} cases, {scores}", *describe_scores(found)]
    if any(found.get("intervals", {}).values()):
        lines.append("[low, high]: 95 % interval of the mean over the cases, by bootstrap")
    lines += [f"note: {note}" for note in found.get("notes", [])]
    lines.append(f"per case: {result.per_case}")
    if found.get("page"):
        lines.append(f"page: {result.page}")
    return lines


def _sort_words(options: argparse.Namespace) -> None:
    """Tell the Run from a key: with --predictions there is no Run, and the first word may be a key."""
    word = options.trained
    if options.predictions is not None and word and "=" in word and not Path(word).exists():
        options.keys = [word, *options.keys]
        options.trained = None
    options.trained = Path(options.trained) if options.trained else None


def _require_one_source(options: argparse.Namespace) -> None:
    """Raise UserError unless it is clear whose masks are scored, and against which."""
    if options.predictions is not None:
        _require_masks_alone(options)
        return
    if options.trained is None:
        raise UserError(f"evaluate: give a RUN; {WITHOUT_RUN}")
    given = [folder for folder in (options.images, options.masks) if folder is not None]
    expected = 0 if options.dataset else 2
    if len(given) != expected:
        raise UserError("evaluate: give either --dataset NAME, or --images DIR and --masks DIR together")
    if options.keys and not options.dataset:
        keys = " ".join(options.keys)
        raise UserError(f"evaluate: {keys} belongs to --dataset NAME, which is not given")


def _require_masks_alone(options: argparse.Namespace) -> None:
    """Raise UserError unless masks made elsewhere are compared with a data set, or with a folder of masks."""
    if options.trained is not None:
        raise UserError(f"evaluate: {WITHOUT_RUN}; leave out {options.trained}, or --predictions")
    if bool(options.dataset) == (options.masks is not None) or (options.dataset and options.images is not None):
        raise UserError(
            "evaluate: beside --predictions DIR give either --dataset NAME, or --masks DIR (and --images DIR for the "
            "pictures on the page)"
        )


EVALUATE: Action = (
    "Score a Run on data that it was not trained on, or masks that were made elsewhere.",
    _add_evaluate_arguments,
    _evaluate_run,
)
