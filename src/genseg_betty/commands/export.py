"""`genseg export`: the segmenter of a Run in a file that needs neither the Run nor this package."""

import argparse
from pathlib import Path

from genseg_betty.commands.judging import make_checks, require_runs
from genseg_betty.commands.shared import RUN_HELP, Action, add_trust
from genseg_betty.terminal import say


def _add_export_arguments(parser: argparse.ArgumentParser) -> None:
    from genseg_betty.exporting.requirements import FORMATS

    parser.add_argument("trained", metavar="RUN", type=Path, help=RUN_HELP)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        required=True,
        help="onnx; torch: a program of torch.export; torchscript; monai: a bundle, which is a folder",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        required=True,
        help="new file; FILE.json, which says how images are prepared, comes beside it",
    )
    add_trust(parser)


def _export_segmenter(options: argparse.Namespace) -> None:
    from genseg_betty.exporting.requirements import require_format, require_new

    make_checks(
        lambda: require_runs([options.trained]),
        lambda: require_new(options.out),
        lambda: require_format(options.format),
    )
    from genseg_betty.exporting.run_export import export_run

    exported = export_run(options.trained, options.format, options.out, trust=options.trust)
    difference = exported.written.largest_difference
    lines = [
        f"checked: its logits differ from those of the Run's network by at most {difference:.2g}",
        exported.summarise_images(),
        str(exported.path),
    ]
    say("\n".join(lines))


EXPORT: Action = (
    "The trained segmenter of a Run as a file that others run: ONNX, PyTorch's two formats, a bundle of MONAI.",
    _add_export_arguments,
    _export_segmenter,
)
