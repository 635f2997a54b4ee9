"""Every kind of broken input: how it is made, under which code, and with which message it is to be told."""

import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from data import bombs

SIDE = 48
SOUND = 12  # cases beside the broken one
ROWS, COLUMNS = np.indices((SIDE, SIDE))
UNREADABLE = f"cannot be read as an image (***); expected one of {bombs.PICTURES}"
LABELS = "expected 0 and 1, or 0 and 255. Mend the mask, or declare its labels, as in 'dataset.labels={background: 0, "
TOO_FEW = (
    "has 1 labelled cases in 1 groups: 0 are the fixed test part and 1 are left for training and validation; expected "
    "two or more, and one to test on, so add labelled images"
)
CUT_OFF = "so it is cut off; expected the whole file, copy it again"
LOCAL = "expected LOCAL or the name of one file beside it"
BESIDE = "expected values in the file itself, or in one beside it that it names"
NRRD = "expected an NRRD file (.nrrd, or .nhdr beside its data)"
NPY = "expected a NumPy array of numbers (.npy, or .npz with one array)"
NO_IMAGE = "no image has this stem; add its image, remove the mask, or name it in dataset.ignore"
LINK = "is a link that leads out of the dataset's root and was not followed; copy the files in"
RESAMPLED = "expected equal ones: one of the two was resampled or lost its header, so export them together again"

Told = tuple[str, str, str]  # code, file below the root, message; *** stands for a library's own words
Spoiler = Callable[[Path, str], object]  # adds a case of that name to the dataset at the root


def image_of(name: str) -> np.ndarray:
    """[48, 48] uint8 noise with a bright blob, other ones for each name."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return (random.integers(0, 100, (SIDE, SIDE)) + 150 * (mask_of(name) > 0)).astype(np.uint8)


def mask_of(name: str) -> np.ndarray:
    """[48, 48] uint8, 0 and 255."""
    row, column = np.random.default_rng(zlib.crc32(name.encode())).integers(16, 32, 2)
    return (255 * ((ROWS - row) ** 2 + (COLUMNS - column) ** 2 < 100)).astype(np.uint8)


def picture(path: Path, array: np.ndarray, **keys: Any) -> Path:
    Image.fromarray(array).save(path, **keys)
    return path


def sound(root: Path, name: str, image: str = ".png", mask: str = ".png") -> tuple[Path, Path]:
    """The paths of a case's files; those that are pictures are written, and sound."""
    paths = root / "images" / f"{name}{image}", root / "masks" / f"{name}{mask}"
    for path, array in zip(paths, (image_of(name), mask_of(name)), strict=True):
        if path.suffix in bombs.PICTURES:
            picture(path, array)
    return paths


def cut(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def zeroed(path: Path) -> None:
    """As a copy that was not finished leaves a file whose length was set at its start."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))


def nifti(path: Path, array: np.ndarray, step: float = 1.0) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, np.diag((step, step, 3, 1))), path)
    return path


def frames(path: Path, second: np.ndarray) -> None:
    Image.fromarray(image_of("first")).save(path, save_all=True, append_images=[Image.fromarray(second)])


def turned_tiff(path: Path) -> None:
    image = Image.fromarray(image_of("turned"))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


class Payload:
    """What makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.folder = path.parents[2] / "ran"

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def detached(path: Path, target: str) -> None:
    """A MetaImage or NRRD header whose values are elsewhere."""
    (path.parents[2] / "outside.raw").write_bytes(bytes(64))
    (path.parents[1] / "inside.raw").write_bytes(bytes(64))
    (path.parent / "linked.raw").unlink(missing_ok=True)
    (path.parent / "linked.raw").symlink_to("../inside.raw")
    if path.suffix == ".nhdr":
        path.write_bytes(bombs.nrrd(b"", data_file=target))
    else:
        path.write_bytes(bombs.metaimage(b"").replace(b"= LOCAL", f"= {target}".encode()))


# An image that is broken while its mask is sound: its code, its message, how it is made.
IMAGES: dict[str, tuple[str, str, bombs.Writer]] = {
    "text.png": ("unreadable", UNREADABLE, lambda path: path.write_text("no picture")),
    "empty.png": (
        "unreadable",
        "is empty (0 bytes); expected the .png file that its name says, copy it again from where it comes from",
        lambda path: path.write_bytes(b""),
    ),
    "cut.png": ("unreadable", UNREADABLE, cut),
    "cut-photograph.jpg": ("unreadable", f"is a JPEG file without an end, {CUT_OFF}", cut),
    "zeros-photograph.jpg": ("unreadable", f"is a JPEG file without an end, {CUT_OFF}", zeroed),
    "postscript.png": (
        "unreadable",
        "is a PostScript document; expected the .png file that its name says, save it as PNG",
        lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n"),
    ),
    "bomb.png": (
        "too_large",
        "has more than 179 million pixels; scale it down",
        lambda path: path.write_bytes(bombs.png(60000, 60000)),
    ),
    "deep.png": (
        "unreadable",
        f"holds 16 bits a value, {SOUND} of {SOUND + 1} images hold 8; expected one depth, for their intensities do "
        "not compare: save it as the others",
        lambda path: picture(path, image_of("deep").astype(np.uint16) * 200),
    ),
    "frames.gif": (
        "unreadable",
        "holds 2 frames; expected one image a file, split it",
        lambda path: frames(path, image_of("second")),
    ),
    "sideways.tif": ("unreadable", "is a TIFF turned by its orientation tag; save it upright", turned_tiff),
    "scans.jpg": (
        "unsafe",
        "holds more than 50 scans; expected a JPEG file as encoders write it",
        lambda path: path.write_bytes(bombs.jpeg(60, SIDE)),
    ),
    "volume.nii.gz": (
        "size_mismatch",
        f"is a volume, {SOUND} of {SOUND + 1} images are an image each; expected one kind: choose it by "
        "dataset.images, or move the others away",
        lambda path: [nifti(path, np.ones((8, 8, 4))), nifti(mask_beside(path, ".nii.gz"), np.ones((8, 8, 4)))],
    ),
    "nifti-shape.nii": (
        "too_large",
        f"holds 30000 x 30000 x 3000 values; {bombs.SCALE}",
        lambda path: path.write_bytes(bombs.nifti((30000, 30000, 3000))),
    ),
    "nifti-cut.nii.gz": (
        "unreadable",
        "cannot be read (***); expected a NIfTI file (.nii, .nii.gz)",
        lambda path: cut(nifti(path, image_of("cut")[..., None])),
    ),
    "nifti-channels.nii": (
        "unreadable",
        "holds 8 x 8 x 1 x 9 values; expected an image or a volume of 1 or 3 channels, save each volume as a file of "
        "its own",
        lambda path: path.write_bytes(bombs.nifti((8, 8, 1, 9)) + bytes(576)),
    ),
    "mhd-outside.mhd": (
        "unsafe",
        f"keeps its values in '../../outside.raw'; {LOCAL}",
        lambda path: detached(path, "../../outside.raw"),
    ),
    "mhd-list.mhd": ("unsafe", f"keeps its values in 'LIST'; {LOCAL}", lambda path: detached(path, "LIST")),
    "mhd-linked.mhd": (
        "unsafe",
        "keeps its values in linked.raw, a link to another folder; copy that file in",
        lambda path: detached(path, "linked.raw"),
    ),
    "mhd-alone.mhd": (
        "unreadable",
        "keeps its values in absent.raw, which is not there; add that file",
        lambda path: detached(path, "absent.raw"),
    ),
    "mha-cut.mha": (
        "unreadable",
        "holds 10 bytes of values; expected 2304, it is cut off",
        lambda path: path.write_bytes(bombs.metaimage(bytes(10), DimSize="48 48")),
    ),
    "nhdr-outside.nhdr": (
        "unsafe",
        f"keeps its values in '../../outside.raw'; {BESIDE}",
        lambda path: detached(path, "../../outside.raw"),
    ),
    "nhdr-root.nhdr": ("unsafe", f"keeps its values in '/etc/passwd'; {BESIDE}", lambda p: detached(p, "/etc/passwd")),
    "nhdr-list.nhdr": ("unsafe", f"keeps its values in 'LIST'; {BESIDE}", lambda path: detached(path, "LIST")),
    "nhdr-many.nhdr": (
        "unsafe",
        f"keeps its values in 'slice%03d.raw 1 9 1'; {BESIDE}",
        lambda path: detached(path, "slice%03d.raw 1 9 1"),
    ),
    "nhdr-linked.nhdr": (
        "unsafe",
        "keeps its values in linked.raw, a link to another folder; copy that file in",
        lambda path: detached(path, "linked.raw"),
    ),
    "nhdr-alone.nhdr": (
        "unreadable",
        "keeps its values in absent.raw, which is not there; add that file",
        lambda path: detached(path, "absent.raw"),
    ),
    "nrrd-cut.nrrd": (
        "unreadable",
        "holds 10 bytes of values; expected 2304, it is cut off",
        lambda path: path.write_bytes(bombs.nrrd(bytes(10), sizes="48 48")),
    ),
    "nrrd-text.nrrd": (
        "unreadable",
        "keeps its values as text; expected raw, gzip or bzip2, save it anew",
        lambda path: path.write_bytes(bombs.nrrd(b"0 " * 2304, sizes="48 48", encoding="text")),
    ),
    "nrrd-time.nrrd": (
        "unreadable",
        "has axes of 8 (domain), 8 (domain), 3 (time) values; expected 2 or 3 axes of space, and at most one of 1 or 3 "
        "channels",
        lambda path: path.write_bytes(bombs.nrrd(bytes(192), dimension="3", sizes="8 8 3", kinds="domain domain time")),
    ),
    "nrrd-flat.nrrd": (
        "unreadable",
        "states axes that span no space, or a place that is no number; expected one, mend its header",
        lambda path: path.write_bytes(bombs.nrrd(space="LPS", space_directions="(1,0,0) (1,0,0)")),
    ),
    "nrrd-origin.nrrd": (
        "unreadable",
        f"cannot be read (an origin of 2 numbers); {NRRD}",
        lambda path: path.write_bytes(bombs.nrrd(**{**bombs.PLACED, "space_origin": "(1,2)"})),
    ),
    "nrrd-block.nrrd": (
        "unreadable",
        f"cannot be read (values of the type block); {NRRD}",
        lambda path: path.write_bytes(bombs.nrrd(type="block")),
    ),
    "dicom-pixels-cut.dcm": (
        "unreadable",
        "cannot be read (***); expected a DICOM image",
        lambda path: cut(bombs.dicom(path, bytes(SIDE * SIDE), Rows=SIDE, Columns=SIDE), 0.95),
    ),
    "dicom-header-cut.dcm": (
        "unreadable",
        "cannot be read (***); expected a DICOM image",
        lambda path: cut(bombs.dicom(path)),
    ),
    "dicom-deflated.dcm": (
        "unsafe",
        "is a deflated DICOM file, which unpacks to any size; expected another transfer syntax, "
        "convert it to Explicit VR Little Endian (dcmconv +te)",
        lambda path: bombs.dicom(path, syntax="1.2.840.10008.1.2.1.99"),
    ),
    "dicom-frame.dcm": (
        "unreadable",
        "holds a frame of 16x16 pixels; expected 48x48, as its header",
        lambda path: bombs.dicom(path, bombs.encoded(16), bombs.JPEG, Rows=SIDE, Columns=SIDE),
    ),
    "objects.npy": (
        "unsafe",
        "holds object; expected numbers",
        lambda path: np.save(path, np.array([[Payload(path)]], dtype=object), allow_pickle=True),
    ),
    "pickle.npy": (
        "unreadable",
        f"cannot be read (***); {NPY}",
        lambda path: path.write_bytes(pickle.dumps(Payload(path))),
    ),
    "words.npy": ("unreadable", "holds <U1; expected numbers", lambda path: np.save(path, [["a", "b"]])),
    "nan.npy": (
        "unreadable",
        "holds NaN or infinite intensities; expected finite numbers, write that of the background instead",
        lambda path: np.save(path, np.where(ROWS == COLUMNS, np.nan, 1.0)),
    ),
    "complex.npy": (
        "unreadable",
        "holds complex numbers; expected real intensities",
        lambda path: np.save(path, image_of("complex") * 1j),
    ),
    "axes.npy": (
        "unreadable",
        "holds 1 axes; expected [H, W], [H, W, C], [D, H, W] or [D, H, W, C]",
        lambda path: np.save(path, np.zeros(9)),
    ),
    "npy-bytes.npy": (
        "too_large",
        f"holds 16384 x 16384 values of 8 bytes; {bombs.SHRINK}",
        lambda path: path.write_bytes(bombs.npy((2**14, 2**14), "<f8")),
    ),
    "npz-shape.npz": (
        "too_large",
        f"holds 1048576 x 1048576 values; {bombs.SCALE}",
        lambda path: bombs.npz(path, bombs.npy((2**20, 2**20))),
    ),
    "npz-header.npz": (
        "unreadable",
        "has a header of 4294967295 bytes; expected at most 10000",
        lambda path: bombs.npz(path, b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(2**20)),
    ),
    "npz-bzip2.npz": (
        "unsafe",
        "is packed by bzip2 or LZMA; expected an archive that NumPy wrote, save it again",
        lambda path: bombs.npz(path, bombs.npy((8, 8), values=bytes(64)), zipfile.ZIP_BZIP2),
    ),
    "npz-two.npz": (
        "unreadable",
        "holds 2 arrays (a.npy, b.npy); expected one",
        lambda path: np.savez(path, a=image_of("a"), b=image_of("b")),
    ),
}
# A mask that is broken while its image is sound.
MASKS: dict[str, tuple[str, str, bombs.Writer]] = {
    "cut-mask.png": ("unreadable", UNREADABLE, cut),
    "cropped.png": (
        "size_mismatch",
        "mask is 40x48 pixels and its image 48x48; expected equal sizes, bring both to one size",
        lambda path: picture(path, mask_of("cropped")[:, :40]),
    ),
    "scaled.png": (
        "size_mismatch",
        "mask is 24x24 pixels and its image 48x48; expected equal sizes, bring both to one size; where masks are "
        "published scaled, dataset.scaled_masks=true does so",
        lambda path: picture(path, mask_of("scaled")[::2, ::2]),
    ),
    "third-label.png": (
        "unexpected_label",
        f"holds the values 0, 1, 2; {LABELS}label1: 1, label2: 2}}'",
        lambda path: picture(path, (ROWS // 16).astype(np.uint8)),
    ),
    "photograph.png": (
        "unexpected_label",
        f"holds the values 0, 1, 2, 3, 4, 5, 6, 7, ...; {LABELS}ulcer: 1}}'",
        lambda path: picture(path, ((48 * ROWS + COLUMNS) % 200).astype(np.uint8)),
    ),
    "coloured.png": (
        "unexpected_label",
        "is in colour (RGB (0, 200, 0) at row 0, column 8); expected a gray value a label, or declare colours, "
        "as in 'dataset.labels={background: [0, 0, 0], ulcer: [0, 200, 0]}'",
        lambda path: picture(path, np.where(COLUMNS[..., None] < 8, 0, [0, 200, 0]).astype(np.uint8)),
    ),
    "fractions.tif": (
        "unexpected_label",
        "holds fractions; expected whole label values such as 0 and 255",
        lambda path: picture(path, mask_of("fractions").astype(np.float32) / 510),
    ),
    "probabilities.npy": (
        "unexpected_label",
        "holds fractions; expected whole label values such as 0 and 255",
        lambda path: np.save(path, mask_of("probabilities") / 300),
    ),
    "channels.mha": (
        "unexpected_label",
        "holds 3 channels; expected one label a pixel or voxel",
        lambda path: path.write_bytes(
            bombs.metaimage(bytes(3 * SIDE * SIDE), DimSize="48 48", ElementNumberOfChannels="3")
        ),
    ),
}


def mask_beside(image: Path, extension: str) -> Path:
    """The path of a mask that replaces the sound one of this image."""
    stem = image.name.split(".")[0]
    (image.parents[1] / "masks" / f"{stem}.png").unlink()
    return image.parents[1] / "masks" / f"{stem}{extension}"


def without(part: str) -> Spoiler:
    return lambda root, name: dict(zip(("images", "masks"), sound(root, name), strict=True))[part].unlink()


def link(part: str, target: str) -> Spoiler:
    def spoil(root: Path, name: str) -> None:
        without(part)(root, name)
        (root / part / f"{name}.png").symlink_to(target)

    return spoil


def contested(root: Path, name: str) -> None:
    sound(root, name)
    picture(root / "images" / f"{name}.bmp", image_of("another"))


def turned(root: Path, name: str) -> None:
    image, mask = sound(root, name)
    picture(image, image_of(name)[:32])
    picture(mask, mask_of(name)[:32].T)


def spaced_metaimages(root: Path, name: str) -> None:
    for path, step in zip(sound(root, name, ".mha", ".mha"), ("0.5 0.5", "1 1"), strict=True):
        path.write_bytes(bombs.metaimage(mask_of(name).tobytes(), DimSize="48 48", ElementSpacing=step))


def spaced_slices(root: Path, name: str) -> None:
    for path, step in zip(sound(root, name, ".nii.gz", ".nii"), (0.5, 0.7), strict=True):
        nifti(path, mask_of(name)[..., None], step)


def no_mask(name: str) -> Told:
    places = " or ".join(f"masks/{name}{ending}.*" for ending in ("", "_mask", "_segmentation"))
    return "missing_mask", f"images/{name}.png", f"has no mask; expected {places}. Add it or remove the image"


# What takes more than one broken file, or none.
CASES: dict[str, tuple[tuple[Told, ...], Spoiler]] = {
    "no-mask": ((no_mask("no-mask"),), without("masks")),
    "no-image": ((("missing_image", "masks/no-image.png", NO_IMAGE),), without("images")),
    "contested": (
        (
            (
                "missing_mask",
                "images/contested.png",
                "shares the mask masks/contested.png with images/contested.bmp; expected one image a mask, so remove "
                "or rename one",
            ),
        ),
        contested,
    ),
    "turned": (
        (
            (
                "size_mismatch",
                "masks/turned.png",
                "mask is 32x48 pixels and its image 48x32 (turned: one of them has lost its EXIF orientation); "
                "expected equal sizes, turn the mask until it lies on the image as a viewer shows that",
            ),
        ),
        turned,
    ),
    "spacing": (
        (
            (
                "spacing_mismatch",
                "masks/spacing.mha",
                f"its voxels are 1 x 1 mm (x, y, z) and those of its image 0.5 x 0.5; {RESAMPLED}",
            ),
        ),
        spaced_metaimages,
    ),
    "slice-spacing": (
        (
            (
                "spacing_mismatch",
                "masks/slice-spacing.nii",
                f"its voxels are 0.7 x 0.7 mm (x, y, z) and those of its image 0.5 x 0.5; {RESAMPLED}",
            ),
        ),
        spaced_slices,
    ),
    "link-out": (
        (("unsafe", "images/link-out.png", LINK), ("missing_image", "masks/link-out.png", NO_IMAGE)),
        link("images", "/etc/hostname"),
    ),
    "mask-out": (
        (("unsafe", "masks/mask-out.png", LINK), no_mask("mask-out")),
        link("masks", "../../outside.raw"),
    ),
    "dangling": ((("unreadable", "images/dangling.png", UNREADABLE),), link("images", "nowhere.png")),
}


def broken_file(part: str, file: str, write: bombs.Writer) -> Spoiler:
    name, extension = file[: file.index(".")], file[file.index(".") :]
    keys = {part[:-1]: extension}
    return lambda root, _: write(sound(root, name, **keys)[part == "masks"])


ERRORS: dict[str, tuple[tuple[Told, ...], Spoiler]] = CASES | {
    file: (((code, f"{part}/{file}", message),), broken_file(part, file, write))
    for part, table in (("images", IMAGES), ("masks", MASKS))
    for file, (code, message, write) in table.items()
}
WARNINGS: dict[str, tuple[Told, Spoiler]] = {
    "nothing": (
        ("empty_mask", "masks/nothing.png", "has no foreground; fine if nothing is there to segment"),
        lambda root, name: picture(sound(root, name)[1], 0 * mask_of(name)),
    ),
    "lossy": (
        (
            "lossy_mask",
            "masks/lossy.jpg",
            "has in-between pixels, as of a resized or JPEG mask; values above 127 are taken as foreground "
            "(dataset.threshold=… sets another)",
        ),
        lambda root, name: sound(root, name, mask=".jpg"),
    ),
    "tiny": (
        (
            "tiny_foreground",
            "masks/tiny.png",
            "foreground covers 1 of 2304 pixels; resized, it may vanish",
        ),
        lambda root, name: picture(sound(root, name)[1], (255 * (ROWS * COLUMNS == 47 * 47)).astype(np.uint8)),
    ),
    "twice": (
        (
            "duplicate",
            "images/twice.png",
            "is the same image as images/sound00.png; it counts twice, so remove one",
        ),
        lambda root, name: picture(sound(root, name)[0], image_of("sound00")),
    ),
    "brighter": (
        (
            "near_duplicate",
            "images/sound01.png",
            "looks like the same picture as images/brighter.png; both are kept in one part, so remove one if it is no "
            "image of its own",
        ),
        lambda root, name: picture(sound(root, name)[0], (image_of("sound01") * 0.9 + 12).astype(np.uint8)),
    ),
}
