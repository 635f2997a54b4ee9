"""What the verbs have in common: arguments that several take, and how one is run."""

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NoReturn

from genseg_betty.search_path import installed_packages_only

DEVICES = ("auto", "cpu", "cuda")
RUN_HELP = "directory of a Run, such as outputs/phantom-unet-…"
DEVICES = ("auto", "cpu", "cuda")
Action = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[Any], int | None]]
"""A description, what adds the arguments, and what does the work; it returns the exit status, None for 0."""


def choose_action(verb: str, actions: Mapping[str, Action], words: Sequence[str]) -> str:
    """The action of a verb that is asked for. `--help` prints what there is and exits; misuse exits with 2."""
    word = words[0] if words else ""
    if word in actions:
        return word
    lines = [f"usage: genseg {verb} ACTION …    (genseg {verb} ACTION --help)", "", "actions:"]
    for name, (text, _, _) in actions.items():
        lines.append(f"  {name:8}{text}")
    if word in ("-h", "--help"):
        print("\n".join(lines))
        sys.exit(0)
    fault = "an action is required"
    if word:
        alike = difflib.get_close_matches(word, actions, n=1)
        hint = f"; did you mean {alike[0]}?" if alike else ""
        fault = f"{word!r} is none of the actions{hint}"
    lines += ["", f"genseg {verb}: {fault}"]
    print("\n".join(lines), file=sys.stderr)
    sys.exit(2)


def run_action(name: str, action: Action, arguments: Sequence[str]) -> int:
    """Parse the arguments and do the work; returns the exit status. Misuse exits with 2 and usage.

    Code in the current folder or on PYTHONPATH is found with --trust alone.
    """
    _, _, work = action
    options = make_parser(name, action).parse_intermixed_args(arguments)
    is_trusted = getattr(options, "trust", False)
    with nullcontext() if is_trusted else installed_packages_only():
        return work(options) or 0


class Parser(argparse.ArgumentParser):
    """A parser that names the option which was most likely meant."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong, and exit with 2."""
        options = [name for action in self._actions for name in action.option_strings]
        unknown = re.fullmatch(r"unrecognized arguments: (-[^\s=]+).*", message)
        alike = difflib.get_close_matches(unknown[1], options, n=1) if unknown else []
        hint = f"; did you mean {alike[0]}?" if alike else f" ({self.prog} --help)"
        super().error(f"{message}{hint}")


def make_parser(name: str, action: Action) -> argparse.ArgumentParser:
    """The parser of what `name` takes."""
    text, add_arguments, _ = action
    parser = Parser(prog=name, description=text, allow_abbrev=False)
    add_arguments(parser)
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust", action="store_true", help="build whatever classes the Run's config.yaml names: this runs their code"
    )


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-dir", metavar="DIR", help="your own YAML files, laid out as conf/")


def load_named_dataset(options: argparse.Namespace) -> Any:
    """The config of the data set `options.dataset`, with the keys given beside it."""
    from genseg_betty.config import load_dataset_config

    return load_dataset_config(options.dataset, config_dir=options.config_dir, overrides=options.keys)


def load_present_dataset(options: argparse.Namespace) -> Any:
    """As `load_named_dataset`. Raises UserError where the data set's folder is not there."""
    from genseg_betty.data.cases import require_root

    config = load_named_dataset(options)
    require_root(config)
    return config


def parse_positive(text: str) -> int:
    """The type of an argument that counts something."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {text}")
    return number
