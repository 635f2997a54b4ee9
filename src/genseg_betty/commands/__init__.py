"""The verbs beside training: what they take, and which part of the package does the work.

Each imports what it needs when it runs, after its arguments are judged: `--help` and a mistyped name are answered at
once.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from genseg_betty.commands.data import ACTIONS as DATA_ACTIONS
from genseg_betty.commands.judging import (
    make_checks,
    require_generator,
    require_output_folder,
    require_pair_folders,
    require_runs,
)
from genseg_betty.commands.predict import PREDICT
from genseg_betty.commands.report import REPORT
from genseg_betty.commands.shared import (
    DEVICES,
    RUN_HELP,
    Action,
    add_config_dir,
    add_json,
    add_trust,
    choose_action,
    count_things,
    load_present_dataset,
    parse_positive,
    run_action,
)
from genseg_betty.commands.sweep import ACTIONS as SWEEP_ACTIONS
from genseg_betty.commands.sweep import add_runs_arguments, add_search_arguments, list_runs, search_values
from genseg_betty.config.machine import require_card
from genseg_betty.errors import UserError
from genseg_betty.terminal import say

VERBS = {
    "predict": "masks for images or folders of images",
    "generate": "synthetic image-mask pairs",
    "evaluate": "score a Run on other data",
    "report": "one HTML page about one or more Runs",
    "data": "data sets: list, check, show or fetch them",
    "search": "hyper-parameters that validate best, proposed by Optuna",
    "runs": "the Runs in a folder: state, step, scores, age",
    "sweep": "the trainings of a sweep: how far they are, or go on with those that are not finished",
    "completion": "a script by which bash, zsh or fish completes commands, options and keys",
}


def run_command(arguments: Sequence[str]) -> int:
    """Run the verb that `arguments` begin with; returns the exit status. Misuse exits with 2 and usage."""
    verb, *rest = arguments
    if verb in _TABLES:
        action = choose_action(verb, _TABLES[verb], rest[:1])
        return run_action(f"genseg {verb} {action}", _TABLES[verb][action], rest[1:])
    return run_action(f"genseg {verb}", _COMMANDS[verb], rest)


def print_completions(words: Sequence[str], train: argparse.ArgumentParser) -> int:
    """For the scripts of shells: a line for each word that may stand at the cursor, whose number comes first."""
    from genseg_betty.commands.completion import Verbs, complete_word

    cursor, *line = words
    verbs: Verbs = {**_COMMANDS, **_TABLES}
    candidates = complete_word(int(cursor), line, train, verbs)
    print("\n".join(candidates))
    return 0


def _add_generate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", metavar="RUN", type=Path, help=f"{RUN_HELP}, trained with a generator")
    parser.add_argument("--count", type=parse_positive, required=True, help="number of pairs")
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder for images/ and masks/")
    parser.add_argument(
        "--format", choices=("folder", "nnunet"), default="folder", help="what dataset=folder reads, or nnU-Net"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other pairs (default 0)")
    parser.add_argument("--strongest", action="store_true", help="use each cell's strongest operation alone")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: a GPU where there is one")
    add_trust(parser)


def _add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", metavar="RUN", type=Path, help=RUN_HELP)
    parser.add_argument("--dataset", metavar="NAME", help="a data set that `genseg data list` names")
    parser.add_argument(
        "keys", metavar="KEY=VALUE", nargs="*", default=[], help="keys of it, such as root=DIR n_test=50"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="instead of --dataset: folder of images")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="and the folder of their masks, same stems")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: a GPU where there is one")
    add_trust(parser)
    add_json(parser)
    add_config_dir(parser)


def _generate_pairs(options: argparse.Namespace) -> None:
    make_checks(
        lambda: require_runs([options.trained]),
        lambda: require_generator(options.trained),
        lambda: require_output_folder(options.out),
        lambda: require_card(options.device),
    )
    from genseg_betty.inference import generate

    run, count, out = options.trained, options.count, options.out
    generate(run, count, out, options.format, options.seed, options.strongest, options.device, trust=options.trust)
    pairs = count_things(range(count), "pair")
    say(f"{pairs} in {out}")


def _evaluate_run(options: argparse.Namespace) -> None:
    _require_one_source(options)
    run, images, masks = options.trained, options.images, options.masks
    folders = [folder for folder in (images, masks) if folder is not None]
    configs: list[Any] = []

    def load_config() -> None:
        if options.dataset:
            configs.append(load_present_dataset(options))

    make_checks(
        lambda: require_runs([run]),
        lambda: require_pair_folders(folders),
        load_config,
        lambda: require_card(options.device),
    )
    with redirect_stdout(sys.stderr):
        from genseg_betty.inference import evaluate_dataset, evaluate_folders
        from genseg_betty.metrics.scores import describe_scores

        if configs:
            result = evaluate_dataset(run, configs[0], options.device, trust=options.trust)
        else:
            result = evaluate_folders(run, images, masks, options.device, trust=options.trust)
    if options.json:
        print(json.dumps(result.to_dict()))
    else:
        scores = f"Dice {result.dice:.4f}, Jaccard {result.jaccard:.4f}"
        lines = [f"{result.dataset}: {result.cases} cases, {scores}", *describe_scores(result.to_dict())]
        lines.append(f"per case: {result.per_case}")
        say("\n".join(lines))


def _require_one_source(options: argparse.Namespace) -> None:
    """Raise UserError unless either a data set or a folder of images and one of masks is given."""
    given = [folder for folder in (options.images, options.masks) if folder is not None]
    expected = 0 if options.dataset else 2
    if len(given) != expected:
        raise UserError("evaluate: give either --dataset NAME, or --images DIR and --masks DIR together")
    if options.keys and not options.dataset:
        keys = " ".join(options.keys)
        raise UserError(f"evaluate: {keys} belongs to --dataset NAME, which is not given")


def _add_completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help='in bash and zsh: eval "$(genseg completion …)"')


def _print_script(options: argparse.Namespace) -> None:
    from genseg_betty.commands.completion import SCRIPTS

    print(SCRIPTS[options.shell], end="")


_TABLES: dict[str, dict[str, Action]] = {"data": DATA_ACTIONS, "sweep": SWEEP_ACTIONS}
_COMMANDS: dict[str, Action] = {
    "predict": PREDICT,
    "generate": ("Synthetic image-mask pairs from a Run's generator.", _add_generate_arguments, _generate_pairs),
    "evaluate": ("Score a Run on data that it was not trained on.", _add_evaluate_arguments, _evaluate_run),
    "report": REPORT,
    "search": ("Search for the values of keys that validate best.", add_search_arguments, search_values),
    "runs": ("The Runs in a folder: state, step, scores, age.", add_runs_arguments, list_runs),
    "completion": (
        'Print the script of a shell, for: eval "$(genseg completion bash)"; fish: genseg completion fish | source.',
        _add_completion_arguments,
        _print_script,
    ),
}
