"""The sentence that says of a Run what was trained on what."""

from genseg_betty.reporting.elements import build_note
from genseg_betty.reporting.record import Record
from genseg_betty.reporting.values import NONE, as_mapping


def build_lead(record: Record) -> str:
    """One sentence: what was trained on what."""
    dataset = as_mapping(record.config.get("dataset"))
    title = dataset.get("title") or record.dataset
    parts = [
        record.method,
        _name_networks(record),
        f"on {_count_images(record)} of {title}",
        f"seed {record.seed}",
    ]
    return build_note(", ".join(parts), "lead")


def _name_networks(record: Record) -> str:
    """The networks as the training described them, or else as the config names them."""
    results = record.results
    described = as_mapping(results.get("networks"))
    names = [str(network) for network in described.values()]
    if not names:
        configured = (record.backbone, record.generator)
        names = [name for name in configured if name != NONE]
    networks = " and ".join(names)
    if results.get("reduced"):
        trainer = results.get("trainer")
        networks += f" (of trainer={trainer})"
    return networks


def _count_images(record: Record) -> str:
    """How many images were labelled, and what became of them where that is known."""
    results = record.results
    labelled = record.n_labelled
    count = "an unknown number of" if labelled is None else labelled
    images = f"{count} labelled images"
    trained = results.get("n_train")
    if not trained:
        return images

    # Unused images are told of where there are any.
    validated = results.get("n_validation")
    unused = results.get("n_unused")
    use = f"{trained} to train, {validated} to validate"
    if unused:
        use += f"; {unused} others unused"
    return f"{images} ({use})"
