"""The networks that a config stands for, in a few words: trainer=quick, a preset, trains others than the usual."""

from omegaconf import DictConfig, OmegaConf

from genseg_betty.config.wording import show

KIND = ("arch", "net", "version", "encoder")  # keys of a backbone that say which network of a library it is
WIDTH = ("base_channels", "max_channels")


def describe_networks(config: DictConfig, with_generator: bool) -> dict[str, str]:
    """What each network is and how wide: segmenter, and of a method that has them, second segmenter and generator."""
    networks = {"segmenter": _describe_section(config.backbone)}
    if config.get("second_backbone"):
        networks["second segmenter"] = _describe_section(config.second_backbone)
    if with_generator:
        networks["generator"] = _describe_section(config.generator)
    return networks


def describe_reduced(config: DictConfig, with_generator: bool) -> str | None:
    """What a preset has changed in the networks, their sizes and weights; None where it has changed nothing."""
    groups = ["backbone", "second_backbone"]
    if with_generator:
        groups.append("generator")
    reduced = config.get("reduced") or {}
    sizes = []
    for key, usual in reduced.items():
        group = key.partition(".")[0]
        if group in groups:
            used = OmegaConf.select(config, key)
            sizes.append(f"{key} {used} (usually {show(usual)})")
    if not sizes:
        return None
    listed = ", ".join(sizes)
    return f"trainer={config.trainer.name} trains other networks than usual: {listed}"


def _describe_section(section: DictConfig) -> str:
    """The name of a network, which of a library's networks it is, its encoder's weights, and its widths."""
    text = str(section.get("name") or section.get("_target_", "?"))
    kinds = [str(section[key]) for key in KIND if section.get(key)]
    if kinds:
        listed = " ".join(kinds)
        text += f" with {listed}"
    if section.get("encoder_weights"):
        text += f", weights {section.encoder_weights}"
    widths = [f"{key} {section[key]}" for key in WIDTH if section.get(key)]
    if widths:
        listed = ", ".join(widths)
        text += f" ({listed})"
    return text
