"""Keys held against each other, mostly those of one section: some exclude others, some need others."""

from collections.abc import Callable, Mapping
from typing import Any

from genseg_betty.config.dataset_rules import find_dataset_faults
from genseg_betty.config.encoder_weights import find_backbone_faults
from genseg_betty.config.findings import Findings
from genseg_betty.config.generator_rules import find_generator_faults

RULES: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "backbone": find_backbone_faults,
    "dataset": find_dataset_faults,
    "generator": find_generator_faults,
}


def compare_keys(config: Mapping[str, Any], findings: Findings) -> None:
    """Compare the keys of a section with each other, as far as their values are of their kind."""
    for section, find_faults in RULES.items():
        values = config.get(section)
        if isinstance(values, Mapping):
            unfit = _list_unfit(section, values, findings)
            fitting = {}
            for key, value in values.items():
                if f"{section}.{key}" not in unfit:
                    fitting[key] = value
            findings.problems += _leave_out(find_faults(fitting), unfit)
    if not findings.has_misfit("copy_paste"):
        findings.problems += find_paste_faults(config)


def find_paste_faults(config: Mapping[str, Any]) -> list[str]:
    """One line for each reason why `copy_paste` can have no part in a training that asks for it."""
    share = config.get("copy_paste")
    if not share:
        return []
    faults = []
    method, trainer = config.get("method") or {}, config.get("trainer") or {}
    if method.get("augment") is False:
        faults.append(
            f"copy_paste={share}: method={method.get('name')} leaves images as they are; choose method=supervised "
            f"augment=none copy_paste={share}"
        )
    if trainer.get("batch_size") == 1:
        faults.append(
            f"copy_paste={share}: objects come from the other images of a batch, and trainer.batch_size=1 has none; "
            "expected 2 or more"
        )
    return faults


def _list_unfit(section: str, values: Mapping[str, Any], findings: Findings) -> list[str]:
    """The dotted keys of a section whose value, or a value below it, is none of its kind."""
    keys = [f"{section}.{key}" for key in values]
    return [key for key in keys if findings.has_misfit(key)]


def _leave_out(faults: list[str], unfit: list[str]) -> list[str]:
    """The faults that name no key whose value is wrong by itself."""
    kept = []
    for fault in faults:
        if not any(key in fault for key in unfit):
            kept.append(fault)
    return kept
