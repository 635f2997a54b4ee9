"""The command line: `genseg`, or `python -m genseg_betty`. The first word is a verb; without it, train."""

import argparse
import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from genseg_betty import __version__
from genseg_betty.commands import VERBS, find_table, print_completions, run_command
from genseg_betty.commands.shared import Parser
from genseg_betty.errors import Interrupted, UserError
from genseg_betty.ranks import name_process, require_one_process
from genseg_betty.search_path import current_folder
from genseg_betty.streams import output_fault, unfailing_streams
from genseg_betty.terminal import harmless_warnings, say

JOB = (("-c", "job"), ("--cfg", "job"))
PRINTING = {"--json", "-c", "--cfg", "-h", "--help"}  # options of commands that print and do nothing else
EXAMPLES = """\
examples:
  genseg                                              train on the phantom that ships
  genseg dataset=folder dataset.root=DIR trainer=quick
  genseg dataset=nlm_sz ood=[nlm_mc] backbone=deeplab seed=1
  genseg -m dataset=nlm_sz,isic method=genseg,vanilla seed=0,1,2
  genseg -m method=genseg,strong seed=0,1,2 launcher=slurm launcher.partition=gpu
  genseg --config-dir my_conf dataset=my_dataset      YAML files of your own, laid out as conf/
  genseg predict outputs/RUN scan.png scans/ --out masks

The same command goes on where it was stopped. `genseg --cfg` shows every key with its value."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 done, 1 failed, 2 misused, 128 + its number where a signal stopped it."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with unfailing_streams(), harmless_warnings():
        status = _run_guarded(arguments)
        fault = output_fault()
        if fault and status == 0:
            say(f"genseg: what was printed is lost: {fault}", file=sys.stderr)
            status = 1 if _is_only_printed(arguments) else 0
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit status."""
    first = arguments[0] if arguments else ""
    if first == "help":  # genseg help, genseg help data check
        return run([*arguments[1:], "--help"])
    if first == "__complete":
        return print_completions(arguments[1:], _make_train_parser())
    if first in VERBS:
        require_one_process(f"genseg {first}")
        return run_command(arguments)
    return _run_training(arguments[1:] if first == "train" else arguments)


def _run_guarded(arguments: Sequence[str]) -> int:
    """As `run`, with one sentence and an exit status for whatever goes wrong."""
    try:
        return run(arguments)
    except Interrupted as interrupt:
        say(f"{name_process()}: {interrupt}; the same command goes on from the checkpoint", file=sys.stderr)
        return 128 + interrupt.signal_number
    except KeyboardInterrupt:
        print("genseg: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        reason = str(error)
        if not isinstance(error, UserError):
            reason = f"{type(error).__name__}: {error}\nHYDRA_FULL_ERROR=1 shows where it happened."
        say(f"{name_process()}: {reason}", file=sys.stderr)
        return 1


def _is_only_printed(arguments: Sequence[str]) -> bool:
    """Whether what a command prints is all that it is for."""
    words = list(arguments[:2])
    if words in (["data", "list"], ["data", "check"]):
        return True
    return not PRINTING.isdisjoint(arguments)


def _run_training(arguments: Sequence[str]) -> int:
    """Train, or print the help page or the config that is asked for."""
    options = _make_train_parser().parse_intermixed_args(_drop_job(arguments))
    current_folder()
    _reject_words(options.overrides)
    if options.help:
        print(_write_help_page(options.config_dir))
    elif options.cfg and options.multirun:
        raise UserError("--cfg prints the configuration of one training: leave out -m, and give each key one value")
    elif options.cfg:
        _print_config(options.overrides, options.config_dir)
    elif options.multirun:
        from genseg_betty.sweep import run_sweep

        require_one_process("genseg -m")
        return run_sweep(options.overrides, options.config_dir)
    else:
        _refuse_sweep(options.overrides, options.config_dir)
        import genseg_betty

        genseg_betty.train(options.overrides, options.config_dir)
    return 0


def _print_config(overrides: Sequence[str], config_dir: str | None) -> None:
    """Print the composed config as YAML, without what is found out and not set."""
    from omegaconf import OmegaConf

    from genseg_betty.config import compose

    config = compose(overrides, config_dir)
    keys = [str(key) for key in config if key not in ("origins", "reduced")]
    shown = OmegaConf.masked_copy(config, keys)
    print(OmegaConf.to_yaml(shown), end="")


def _drop_job(arguments: Sequence[str]) -> list[str]:
    """`--cfg job`, as Hydra has it, is `--cfg`: there is no other part to print."""
    kept: list[str] = []
    previous = ""
    for word in arguments:
        if word == "--cfg=job":
            word = "--cfg"
        if (previous, word) not in JOB:
            kept.append(word)
        previous = word
    return kept


def _make_train_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="genseg", add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("--config-dir", metavar="DIR")
    parser.add_argument("-c", "--cfg", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="version", version=f"genseg {__version__}")
    return parser


def _reject_words(overrides: Sequence[str]) -> None:
    """A word without `=` is no override: most likely a verb, misspelled."""
    for word in overrides:
        if "=" not in word and not word.startswith("~"):
            hint = _suggest_verb(word)
            if any(other.startswith("=") for other in overrides):
                hint = "write key=value without spaces"
            raise UserError(f"{word!r} is neither a command nor key=value; {hint} (genseg --help)")


def _refuse_sweep(overrides: Sequence[str], config_dir: str | None) -> None:
    """Raise UserError for what belongs to several trainings: a launcher, or an experiment that is a sweep."""
    from genseg_betty.config import user_folder
    from genseg_betty.config.experiments import find_experiment, read_swept_lines
    from genseg_betty.config.launchers import is_launchers
    from genseg_betty.config.override_grammar import parse_lines

    for word in overrides:
        if is_launchers(word) and word.lstrip("+") != "launcher=local":
            raise UserError(f"{word}: launchers take part in sweeps; give -m as well, of one training too")
    parsed = parse_lines(overrides, problems=[])
    experiment = find_experiment(parsed)
    given = [override.key_or_group for override in parsed]
    swept = read_swept_lines(experiment, user_folder(config_dir), given)
    if swept:
        raise UserError(f"experiment={experiment} sweeps over {' '.join(swept)}: give -m, or one value for each key")


def _suggest_verb(word: str) -> str:
    """The command that was most likely meant, or all commands."""
    table = find_table(word)
    if table is not None:
        return f"did you mean {table} {word}?"
    verbs = ["train", "help", *VERBS]
    alike = difflib.get_close_matches(word, verbs, n=1)
    if alike:
        return f"did you mean {alike[0]}?"
    listed = ", ".join(verbs)
    return f"the commands are {listed}"


def _write_help_page(config_dir: str | None) -> str:
    from genseg_betty.config import all_members, user_folder

    commands = {
        "train (or nothing)": "train a model, or go on with one",
        **VERBS,
        "help [COMMAND]": "this page, or that of a command",
    }
    groups = {}
    for group, names in all_members(user_folder(config_dir)).items():
        groups[f"{group}="] = ", ".join(names)
    options = {
        "-m, --multirun": "several values a key (seed=0,1,2): one Run for each combination",
        "--config-dir DIR": "your own YAML files, found beside those above",
        "-c, --cfg": "print the composed configuration and stop",
        "-h, --help": "print this page",
        "--version": "print the version",
    }
    lines = [
        "genseg: a segmentation model from a handful of labelled images",
        "",
        "usage:",
        "  genseg [train] [GROUP=MEMBER …] [KEY=VALUE …] [-m] [--config-dir DIR] [--cfg]",
        "  genseg COMMAND …                    (genseg COMMAND --help)",
        "",
        *_write_table("commands:", commands),
        "",
        *_write_table("groups, each with its members:", groups),
        "",
        *_write_table("options:", options),
        "",
        EXAMPLES,
    ]
    return "\n".join(lines)


def _write_table(title: str, rows: Mapping[str, str]) -> list[str]:
    """A title, and below it a line for each row: its name, in a column, and its text."""
    lines = [f"  {name:20}{text}" for name, text in rows.items()]
    return [title, *lines]
