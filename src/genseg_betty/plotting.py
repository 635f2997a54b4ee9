"""matplotlib without its backends: this package draws no window, and takes fonts, outlines and ticks from it alone."""

import os
import sys

from genseg_betty.errors import UserError
from genseg_betty.search_path import installed_packages_only


def forget_unknown_backend() -> None:
    """Replace the backend that $MPLBACKEND names by "agg" where matplotlib does not know it.

    A notebook hands it on to the commands and scripts that it starts, and matplotlib refuses to be imported then, also
    by MONAI and segmentation_models_pytorch. A backend that it knows stays. This happens before it is known whose files
    a command is about to read, so a matplotlib in the current folder is none.
    """
    if not os.environ.get("MPLBACKEND") or "matplotlib" in sys.modules:
        return
    wanted = os.environ.pop("MPLBACKEND")
    try:
        with installed_packages_only():
            import matplotlib
    except UserError:  # the current folder is gone, as whatever follows tells
        return
    try:
        matplotlib.rcParams["backend"] = wanted
    except ValueError:
        wanted = "agg"
    os.environ["MPLBACKEND"] = wanted  # processes that this one starts find one that is known
