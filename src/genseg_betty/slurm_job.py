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
    return list_live_jobs(job) == set()


def list_live_jobs(job: str) -> set[str] | None:
    """The job, or all jobs of an array by its id, that run or wait: "12", "12_0". None where SLURM cannot be asked."""
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={job}", "--format=%i %T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ASKING_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    if answer.returncode:
        return set() if UNKNOWN in answer.stderr else None
    rows = [line.split() for line in answer.stdout.splitlines()]
    return {row[0] for row in rows if len(row) == 2 and row[1] not in ENDED}
