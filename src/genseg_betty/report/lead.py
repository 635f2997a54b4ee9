"""The sentence that says of a Run what was trained on what."""

from genseg_betty.report.elements import build_note
from genseg_betty.report.record import Record
from genseg_betty.report.values import NONE, as_mapping


def build_lead(record: Record) -> str:
    """One sentence: what was trained on what."""
    dataset = as_mapping(record.config.get("dataset"))
    title = dataset.get("title") or record.dataset
    trained = f"{record.method}, {_name_networks(record)}"
    return build_note(f"{trained}, on {_count_images(record)} of {title}, seed {record.seed}", "lead")


def _name_networks(record: Record) -> str:
    """The networks as the training described them, or else as the config names them."""
    results = record.results
    described = [str(network) for network in as_mapping(results.get("networks")).values()]
    configured = [name for name in (record.backbone, record.generator) if name != NONE]
    networks = " and ".join(described or configured)
    if results.get("reduced"):
        networks += f" (trainer={results.get('trainer')}: smaller than usual)"
    return networks


def _count_images(record: Record) -> str:
    """How many images were labelled, and what became of them where that is known."""
    results = record.results
    count = "an unknown number of" if record.n_labelled is None else record.n_labelled
    images = f"{count} labelled images"
    if not results.get("n_train"):
        return images
    use = f"{results['n_train']} to train, {results.get('n_validation')} to validate"
    if results.get("n_unused"):
        use += f"; {results['n_unused']} others unused"
    return f"{images} ({use})"
