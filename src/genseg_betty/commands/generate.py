"""`genseg generate`: synthetic image-mask pairs, and what is measured of them."""

import argparse
import sys
from pathlib import Path

from genseg_betty.commands.judging import make_checks, require_generator, require_output_folder, require_runs
from genseg_betty.commands.shared import DEVICES, RUN_HELP, Action, add_trust, parse_positive
from genseg_betty.config.machine import require_card
from genseg_betty.errors import UserError
from genseg_betty.faults import count_things
from genseg_betty.terminal import say


def _add_generate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", metavar="RUN", type=Path, help=f"{RUN_HELP}, trained with a generator")
    parser.add_argument("--count", type=parse_positive, required=True, help="number of pairs")
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder for images/ and masks/")
    parser.add_argument(
        "--format", choices=("folder", "nnunet"), default="folder", help="what dataset=folder reads, or nnU-Net"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other pairs (default 0)")
    parser.add_argument("--strongest", action="store_true", help="use each cell's strongest operation alone")
    parser.add_argument(
        "--judge", metavar="RUN", type=Path, help="measure agreement by this Run's segmenter, not by the Run's own"
    )
    parser.add_argument(
        "--min-agreement", metavar="DICE", type=_parse_limit, help="drop pairs of less agreement (default 0: none)"
    )
    parser.add_argument(
        "--min-distance",
        metavar="D",
        type=_parse_limit,
        help="drop pairs nearer than that to a real training image (default 0.15: copies; 0: none)",
    )
    parser.add_argument(
        "--no-gate", action="store_true", help="measure and drop nothing, and make no sheet: draw the pairs alone"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: a GPU where there is one")
    add_trust(parser)


def _parse_limit(text: str) -> float:
    """The type of an argument that is a share or a distance."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 2:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 2, found {text}")
    return number


def _generate_pairs(options: argparse.Namespace) -> int:
    limits = {"min_agreement": options.min_agreement, "min_distance": options.min_distance}
    chosen = {name: limit for name, limit in limits.items() if limit is not None}
    make_checks(
        lambda: _require_gate(options, chosen),
        lambda: require_runs([options.trained, *([options.judge] if options.judge else [])]),
        lambda: require_generator(options.trained),
        lambda: require_output_folder(options.out),
        lambda: require_card(options.device),
    )
    from genseg_betty.inference import generate

    run, count, out = options.trained, options.count, options.out
    made = generate(
        run,
        count,
        out,
        options.format,
        options.seed,
        options.strongest,
        options.device,
        trust=options.trust,
        judge=options.judge,
        gate=not options.no_gate,
        **chosen,
    )
    say(f"{count_things(made.kept, 'pair')} in {out}", *made.describe())
    files = [str(file) for file in (made.table, made.sheet) if file is not None]
    say(f"each draw: {' and '.join(files)}")
    if made.is_complete:
        return 0
    missing = made.asked - len(made.kept)
    say(f"genseg: {missing} of {made.asked} pairs are missing: too many draws in a row were dropped", file=sys.stderr)
    return 1


def _require_gate(options: argparse.Namespace, limits: dict[str, float]) -> None:
    """Raise UserError for figures that are asked for and left out."""
    if options.no_gate and (options.judge or limits):
        raise UserError("generate: --no-gate measures nothing; leave it out, or leave out --judge and --min-…")


GENERATE: Action = ("Synthetic image-mask pairs from a Run's generator.", _add_generate_arguments, _generate_pairs)
