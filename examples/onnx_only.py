"""Masks for images by an exported ONNX file, with onnxruntime, numpy and Pillow alone: no PyTorch, no genseg-betty.

    genseg export outputs/RUN --format onnx --out model.onnx      # where genseg-betty is installed
    python onnx_only.py model.onnx IMAGES MASKS                   # anywhere: pip install onnxruntime pillow

IMAGES is a file or a folder. The masks are those of `genseg predict`, but for pixels whose two best classes are within
rounding of each other. Pictures of 8 bits, or 16 in gray. Not a medical device.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
WHITE = 255  # of an 8-bit image


def main(model: Path, images: Path, masks: Path) -> None:
    """Write a mask for each image."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["genseg_betty"])
    if len(about["input"]["size"]) != 2:
        sys.exit(f"{model} segments volumes; this script does images")
    masks.mkdir(parents=True, exist_ok=True)
    paths = [images]
    if images.is_dir():
        paths = sorted(path for path in images.iterdir() if path.suffix.lower() in ENDINGS)
    for path in paths:
        indices = segment(session, about, read_image(path, about))
        write_mask(masks / f"{path.stem}.png", indices, about)


def read_image(path: Path, about: dict) -> np.ndarray:
    """Intensities [C, H, W] float32 in the units of the training files, upright, with the channels of the network."""
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
    if picture.mode not in ("L", "LA", "RGB", "RGBA", "F") and not picture.mode.startswith("I"):
        has_alpha = picture.mode == "PA" or "transparency" in picture.info
        picture = picture.convert("RGBA" if has_alpha else "L" if picture.mode == "1" else "RGB")
    pixels = np.asarray(picture, dtype=np.float32)
    eight_bit = picture.mode in ("L", "LA", "RGB", "RGBA")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[-1] in (2, 4):  # alpha has no part in it
        pixels = pixels[..., :-1]

    # 8-bit files, where the training's were of other units, are brought to those.
    scale = about["preparation"]["black_and_white"]
    if eight_bit and scale and scale != [0, WHITE]:
        black, white = scale
        pixels = pixels / WHITE * (white - black) + black

    channels = about["input"]["channels"]
    if pixels.shape[-1] > channels:
        luma = np.array(about["preparation"]["luma"], dtype=np.float32)
        pixels = (pixels * luma).sum(axis=-1, keepdims=True)
    if pixels.shape[-1] < channels:
        pixels = np.repeat(pixels, channels, axis=-1)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def segment(session: onnxruntime.InferenceSession, about: dict, pixels: np.ndarray) -> np.ndarray:
    """Class indices [H, W] of an image [C, H, W]."""
    height, width = pixels.shape[1:]
    clip = about["preparation"]["clip"]
    if clip is None:  # each image is brought to its own percentiles, which the graph does not do
        values = pixels.ravel()[:: pixels.size // about["preparation"]["sampled"] | 1]
        low, high = map(float, np.percentile(values, about["preparation"]["percentiles"]))
        high = high if high > low else low + 1
        pixels = np.clip((pixels - low) / (high - low) * 2 - 1, -1, 1)
    else:  # what lies beyond is clipped before the resize, as in training
        pixels = np.clip(pixels, *clip)
    resized = resize(pixels, about["input"]["size"])
    (logits,) = session.run(["logits"], {"image": resized[None]})
    full = resize(logits[0], (height, width))
    return (full[0] > 0).astype(int) if len(full) == 1 else full.argmax(axis=0)


def resize(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[C, H, W] -> [C, *size], linear and antialiased, as PyTorch does it."""
    height, width = size
    pictures = [Image.fromarray(plane.astype(np.float32)) for plane in planes]
    return np.stack([np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)) for picture in pictures])


def write_mask(path: Path, indices: np.ndarray, about: dict) -> None:
    """A PNG with the values of the training masks; where these are colours, a palette of them over the indices."""
    classes = about["classes"]
    values = np.array([kind.get("value", index) for index, kind in enumerate(classes)])
    picture = Image.fromarray(values[indices].astype(np.uint8 if values.max() <= WHITE else np.uint16))
    colours = [kind["colour"] for kind in classes if "colour" in kind]
    if colours:
        picture.putpalette([level for colour in colours for level in colour])
    picture.save(path)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
