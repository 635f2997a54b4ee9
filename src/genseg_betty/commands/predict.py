"""`genseg predict`: its arguments, what is judged of them, and what it prints."""

import argparse
from pathlib import Path
from typing import Any

from genseg_betty.commands.judging import make_checks, require_inputs, require_output_folder, require_runs
from genseg_betty.commands.shared import DEVICES, RUN_HELP, Action, add_trust
from genseg_betty.config.machine import require_card
from genseg_betty.faults import count_things
from genseg_betty.terminal import say

# Each option and what it does; the names are those of `predict_images` too.
OPTIONS = {
    "overlay": "write overlays/*.png too: the image with its classes in colour",
    "probabilities": "write probabilities/ too: of each class, float16 .npy, of volumes NIfTI",
    "uncertainty": "write uncertainty/ too: the entropy of the probabilities, PNG of 8 bits, of volumes NIfTI",
    "tta": "average over the mirror images of each image; not where classes tell left from right",
}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", metavar="RUN", type=Path, help=RUN_HELP)
    parser.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="image or folder of images")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for predict.csv and the masks: PNG, same stem and size"
    )
    parser.add_argument(
        "--run", metavar="RUN", type=Path, action="append", default=[], help="another Run: the mean of all decides"
    )
    for name, text in OPTIONS.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: a GPU where there is one")
    add_trust(parser)


def _predict_masks(options: argparse.Namespace) -> None:
    runs = [options.trained, *options.run]
    make_checks(
        lambda: require_runs(runs),
        lambda: require_inputs(options.paths),
        lambda: require_output_folder(options.out),
        lambda: require_card(options.device),
    )
    from genseg_betty.inference import predict_paths

    chosen: dict[str, Any] = {name: True for name in OPTIONS if getattr(options, name)}
    run = runs if options.run else options.trained
    written = predict_paths(run, options.paths, options.out, options.device, trust=options.trust, **chosen)
    masks = count_things(written, "mask")
    say(f"{masks} in {options.out}")


PREDICT: Action = ("Masks for images or folders of images.", _add_arguments, _predict_masks)
