"""The SLURM job that this process belongs to, and whether another one has ended."""

import os
import subprocess

ASKING_SECONDS = 20.0
UNKNOWN = "Invalid job id"  # what squeue says of a job that ended some minutes ago

ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
}  # fmt: skip
"""States of a job that runs no more, as squeue names them."""


def find_job() -> tuple[str | None, int]:
    """The id of this process's job, None where it is in none, and how often SLURM has queued that job anew."""
    job = os.environ.get("SLURM_JOB_ID")
    restarts = os.environ.get("SLURM_RESTART_COUNT", "")
    return job or None, int(restarts) if restarts.isdecimal() else 0


def has_job_ended(job: object, restarts: int) -> bool:
    """Whether SLURM says that a job has ended, or an earlier start of it: one that was queued anew since.

    False where SLURM cannot be asked: a job of which nothing is known counts as running.
    """
    if not isinstance(job, str) or not job.isdecimal():
        return False
    ours, our_restarts = find_job()
    if job == ours:
        return our_restarts > restarts
    command = ["squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ASKING_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return False
    if answer.returncode:
        return UNKNOWN in answer.stderr
    states = set(answer.stdout.split())
    return states <= ENDED
