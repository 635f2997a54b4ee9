"""Which packages each format needs, told before anything of them or of PyTorch is imported."""

from importlib.util import find_spec
from pathlib import Path

from genseg_betty.errors import UserError

INSTALL = "pip install 'genseg-betty[export]'"
NEEDED = {
    "onnx": {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"},
    "torch": {},
    "torchscript": {},
    "monai": {"jsonschema": "jsonschema", "ignite": "pytorch-ignite", "fire": "fire"},
}
"""Format -> the modules that it needs, and the packages that hold them."""
FORMATS = tuple(NEEDED)


def require_format(name: str) -> None:
    """Raise UserError for a format that is none, or whose packages are missing."""
    if name not in NEEDED:
        raise UserError(f"--format {name}: expected one of {', '.join(FORMATS)}")
    missing = [package for module, package in NEEDED[name].items() if find_spec(module) is None]
    if missing:
        raise UserError(f"--format {name} needs {', '.join(missing)}, which is missing: {INSTALL}")


def require_new(out: Path) -> None:
    """Raise UserError where a file or folder would be written over, or has no folder to lie in."""
    beside = find_description(out)
    taken = [str(path) for path in (out, beside) if path.exists()]
    if taken:
        raise UserError(f"--out {' and '.join(taken)}: there already; name another, or remove it")
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}; make it, or name another")


def find_description(out: Path) -> Path:
    """The JSON file beside an exported one."""
    return out.with_name(f"{out.name}.json")
