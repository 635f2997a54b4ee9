"""Every module of a network has one name in its state dict.

Some networks hold a module under two names (MONAI's DynUNet). A hypergradient records a step by calling the network at
other weights. With a module of two names, torch's `functional_call` does not take those weights out again, and the
network is not trained any more.
"""

from torch import nn

from genseg_betty.errors import UserError


def register_once(network: nn.Module) -> nn.Module:
    """`network`, whose modules with weights keep one name in its state dict; the others are plain attributes.

    Raises:
        UserError: a list or Sequential of it holds a module that another list holds as well.
    """
    lists = {}
    others = {}
    for name, part in network.named_modules():
        if isinstance(part, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            lists[name] = part
        else:
            others[name] = part

    # Lists come first: a module that stands in a list as well keeps its name there.
    seen: set[nn.Module] = set()
    for parent_name, parent in (lists | others).items():
        for name, child in list(parent._modules.items()):
            if child is None or not _has_state(child):
                continue
            if child not in seen:
                seen.add(child)
            elif parent_name in lists:
                raise UserError(
                    f"{type(network).__name__} holds one {type(child).__name__} twice, the second time as "
                    f"{parent_name}.{name}: its weights would not be trained. Call the module again in forward "
                    "instead of listing it again."
                )
            else:
                delattr(parent, name)
                object.__setattr__(parent, name, child)
    return network


def _has_state(module: nn.Module) -> bool:
    """Whether it has weights or buffers."""
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())
