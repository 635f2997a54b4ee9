"""How a Run was made: its settings, and what the training measured of itself."""

from typing import Any

from omegaconf import OmegaConf

from genseg_betty.reporting.elements import build_element, build_list, escape_text, fold_part
from genseg_betty.reporting.record import Record
from genseg_betty.reporting.values import as_mapping, as_number, flatten_tree
from genseg_betty.reporting.wording import format_bytes, format_duration
from genseg_betty.run.names import MEMORY_BYTES, SECONDS, SYSTEM_PHASE

SECTIONS = ("backbone", "generator", "method", "augment", "trainer")
"""Of the config, each told in a line."""
KEYS = ("image_size", "hypergradient", "precondition", "arch_every", "precision")
"""Of the config, beside these sections."""
SUMMARY_OF_SETTINGS = "Settings: networks, method, recipe and training"
SUMMARY_OF_CONFIG = "Config: all keys that have a part in this Run"


def describe_making(record: Record) -> str:
    """What was measured; the settings and the whole config to unfold."""
    measured = build_list(_find_measurements(record))
    settings = build_list(_find_settings(record))
    dump = OmegaConf.to_yaml(record.used_config)
    config = build_element("pre", escape_text(dump))
    return measured + fold_part(SUMMARY_OF_SETTINGS, settings) + fold_part(SUMMARY_OF_CONFIG, config)


def _find_settings(record: Record) -> dict[str, Any]:
    """The settings that have a part in this Run."""
    config = record.used_config
    settings = {key: config.get(key) for key in KEYS}
    for name, section in config.items():
        if name in SECTIONS and isinstance(section, dict):
            settings[name] = _describe_section(section)
    return settings


def _describe_section(section: dict[str, Any]) -> str:
    """One line of a config group: its name, then its keys that are set."""
    words = []
    if section.get("name"):
        words.append(str(section["name"]))
    for key, value in flatten_tree(section).items():
        is_told = key not in ("name", "_target_")
        if is_told and value is not None:
            words.append(f"{key}={value}")
    return " ".join(words)


def _find_measurements(record: Record) -> dict[str, Any]:
    """What the training found out, under the words of the page; None for what it did not."""
    results = record.results
    memory = _find_measured(record, "peak_memory_bytes", MEMORY_BYTES)
    return {
        "time": _describe_time(record),
        "peak memory": format_bytes(memory),
        "device": results.get("device") or record.used_config.get("device"),
        **as_mapping(results.get("networks")),
        "networks of a preset": results.get("reduced"),
        **_count_parameters(record),
        "versions": _list_versions(record),
        "training data": _describe_digest(record),
        "finished": results.get("finished"),
        "directory": record.path,
    }


def _describe_time(record: Record) -> str:
    seconds = _find_measured(record, "seconds", SECONDS)
    seconds_per_step = as_number(record.results.get("seconds_per_iteration"))
    in_all = format_duration(seconds)
    a_step = format_duration(seconds_per_step or None)
    return f"{in_all} in all, {a_step} a step"


def _find_measured(record: Record, key: str, metric: str) -> float | None:
    """A number of results.json; while there is none, the last value of the metric that it comes from."""
    found = as_number(record.results.get(key))
    return found or record.metrics.find_last_value(SYSTEM_PHASE, metric)


def _count_parameters(record: Record) -> dict[str, str]:
    """The size of each network that has one."""
    parameters = as_mapping(record.results.get("parameters"))
    sizes = {}
    for name, value in parameters.items():
        count = as_number(value)
        if count:
            sizes[f"{name} parameters"] = f"{int(count):,}"
    return sizes


def _list_versions(record: Record) -> str | None:
    """Packages and their versions, those left out that were not installed."""
    versions = as_mapping(record.results.get("versions"))
    told = []
    for package, version in versions.items():
        if version:
            told.append(f"{package} {version}")
    return ", ".join(told) or None


def _describe_digest(record: Record) -> str | None:
    """The beginning of the SHA-256 of what was trained on."""
    digest = record.results.get("data_sha256")
    return f"sha256 {str(digest)[:16]}…" if digest else None
