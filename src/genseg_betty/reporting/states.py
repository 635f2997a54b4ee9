"""What is to be said of a Run before its scores: how far it has come, why it has none, and if they mean nothing."""

from genseg_betty.reporting.groups import Group
from genseg_betty.reporting.record import Record, find_test_scores
from genseg_betty.run.names import CONSTANT


def list_constants(record: Record) -> list[str]:
    """A sentence for each test set on which a Run predicts the same class everywhere."""
    sentences = []
    for test_set, scores in find_test_scores(record).items():
        if scores.get(CONSTANT):
            sentences.append(f"{test_set}: every prediction is all {scores[CONSTANT]}, whatever the image shows.")
    return sentences


def describe_state(record: Record) -> str:
    """How far an unfinished Run has come."""
    if record.is_broken:
        return f"This Run is broken: {'; '.join(record.faults)}"
    step = record.status.get("step", "?")
    asked = f"({record.iterations_asked} iterations asked for)"
    return f"This Run is not finished: {record.state} at step {step} {asked}{_name_reason(record)}."


def explain_lack(group: Group) -> str:
    """Why no Run of a method has a score, in a few words for each."""
    reasons = []
    for record in group.records:
        if record.is_broken:
            reason = f"broken: {'; '.join(record.faults)}"
        elif record.state == "finished":
            reason = "finished without test scores"
        else:
            reason = f"{record.state} at step {record.status.get('step', '?')}{_name_reason(record)}"
        reasons.append(reason if len(group.records) == 1 else f"seed {record.seed} {reason}")
    return "; ".join(reasons)


def _name_reason(record: Record) -> str:
    """What the last status says, behind a comma; nothing where it says nothing."""
    message = record.status.get("message")
    return f", {message}" if message else ""
