"""Whether launcher=slurm can be used here: its package is installed, and SLURM is at hand."""

from importlib.util import find_spec
from shutil import which

from genseg_betty.errors import UserError

INSTALL = "pip install 'genseg-betty[slurm]'"


def require_launcher() -> None:
    """Raise UserError where the extra is not installed, or no SLURM is at hand."""
    problems = []
    if find_spec("submitit") is None or find_spec("hydra_plugins") is None:
        problems.append(f"launcher=slurm needs hydra-submitit-launcher, which is missing: {INSTALL}")
    if which("sbatch") is None:
        problems.append("launcher=slurm needs SLURM's sbatch, which is not on PATH: give the command on a login node")
    if problems:
        raise UserError("\n".join(problems))
