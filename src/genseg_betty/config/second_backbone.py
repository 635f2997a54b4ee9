"""The second network of a method that trains two of different structure: `method.second_backbone` names its file.

Its section `second_backbone` of the config is that file of conf/backbone, with the sizes that `trainer.small` has for
all networks. Keys of it are set as those of `backbone` are: `second_backbone.base_channels=32`.
"""

from collections.abc import Iterable, Mapping, Sequence

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from genseg_betty.config.overrides import tell_unknown_member

KEY, SECTION = "method.second_backbone", "second_backbone"
# A second network of another structure beside each first one; beside all others SwinUNet, an attention network.
PARTNERS = {
    "swinunet": "unet",
    "unet3d": "monai",
    "monai": "unet3d",
}
USUAL = "swinunet"


def choose_second_backbone(
    tree: DictConfig, values: Iterable[Override], first: str | None, members: Sequence[str], problems: list[str]
) -> str | None:
    """The member of conf/backbone that the second network is built from; None for a method with one network.

    Args:
        tree: the composed tree. The YAML of a method with two networks has a key `second_backbone`, null or a name.
        values: what the user sets.
        first: the member that the first network is built from.
        members: all of them.
        problems: an unknown name, that of the first network, and keys without a use are added.
    """
    method = tree.get("method") or {}
    asked = method.get("second_backbone")
    for override in values:
        key = override.key_or_group
        if key == KEY:
            asked = override.value()
        elif key.partition(".")[0] == SECTION and "second_backbone" not in method:
            problems.append(f"{key}: method={method.get('name')} trains one network; leave it out")
    if "second_backbone" not in method:
        return None
    name = PARTNERS.get(first or "", USUAL) if asked is None else str(asked)
    if name not in members:
        told = tell_unknown_member("backbone", name, members)
        problems.append(told.replace("backbone=", f"{KEY}=", 1))
        return PARTNERS.get(first or "", USUAL)
    if name == first:
        partner = PARTNERS.get(name, USUAL)
        problems.append(
            f"{KEY}={name}: the first network is {name} too; expected one of another structure, such as {partner}, "
            "as two of one structure make the same mistakes"
        )
    return name


def insert_second_backbone(tree: DictConfig, name: str, composed: Mapping[str, DictConfig]) -> None:
    """Give `tree` the section of that name; `composed` is a tree with that member of `backbone`."""
    section = composed["backbone"]
    section.name = name
    tree.second_backbone = section
