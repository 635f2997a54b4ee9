"""The verbs beside training: what they take, and which part of the package does the work.

Each imports what it needs when it runs, after its arguments are judged: `--help` and a mistyped name are answered at
once.
"""

import argparse
from collections.abc import Sequence

from genseg_betty.commands.data import ACTIONS as DATA_ACTIONS
from genseg_betty.commands.evaluate import EVALUATE
from genseg_betty.commands.export import EXPORT
from genseg_betty.commands.generate import GENERATE
from genseg_betty.commands.predict import PREDICT
from genseg_betty.commands.report import REPORT
from genseg_betty.commands.shared import Action, choose_action, run_action
from genseg_betty.commands.sweep import ACTIONS as SWEEP_ACTIONS
from genseg_betty.commands.sweep import add_runs_arguments, add_search_arguments, list_runs, search_values

VERBS = {
    "predict": "masks for images or folders of images",
    "generate": "synthetic image-mask pairs",
    "evaluate": "score a Run on other data, or masks made elsewhere",
    "export": "the segmenter as ONNX, PyTorch, TorchScript or a bundle of MONAI",
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


def find_table(action: str) -> str | None:
    """The verb that has this action, such as data of check; None where none has."""
    for verb, actions in _TABLES.items():
        if action in actions:
            return verb
    return None


def print_completions(words: Sequence[str], train: argparse.ArgumentParser) -> int:
    """For the scripts of shells: a line for each word that may stand at the cursor, whose number comes first."""
    from genseg_betty.commands.completion import Verbs, complete_word

    cursor, *line = words
    verbs: Verbs = {**_COMMANDS, **_TABLES}
    candidates = complete_word(int(cursor), line, train, verbs)
    print("\n".join(candidates))
    return 0


def _add_completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help='in bash and zsh: eval "$(genseg completion …)"')


def _print_script(options: argparse.Namespace) -> None:
    from genseg_betty.commands.completion import SCRIPTS

    print(SCRIPTS[options.shell], end="")


_TABLES: dict[str, dict[str, Action]] = {"data": DATA_ACTIONS, "sweep": SWEEP_ACTIONS}
_COMMANDS: dict[str, Action] = {
    "predict": PREDICT,
    "generate": GENERATE,
    "evaluate": EVALUATE,
    "export": EXPORT,
    "report": REPORT,
    "search": ("Search for the values of keys that validate best.", add_search_arguments, search_values),
    "runs": ("The Runs in a folder: state, step, scores, age.", add_runs_arguments, list_runs),
    "completion": (
        'Print the script of a shell, for: eval "$(genseg completion bash)"; fish: genseg completion fish | source.',
        _add_completion_arguments,
        _print_script,
    ),
}
