"""Images per second from the files on disk to tensors in memory, beside the plain loop and MONAI.

    python benchmarks/loading.py                        1200 images of $GENSEG_DATA/isic, else drawn ones
    python benchmarks/loading.py --data DIR             the folders images/ and masks/ of DIR
    python benchmarks/loading.py --count 200 --size 128

Each way reads the same image-mask pairs and ends with them stacked in memory. The ways take turns, so that
whatever else the machine does falls on all of them. Beside them stands what a batch costs once the images are in
memory, and one training step of the smallest network, which loading must not keep waiting. Prints a table and
writes it to benchmarks/results/.
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

from genseg_betty.build import build_optimizer, build_segmenter
from genseg_betty.config import compose, load_dataset_config
from genseg_betty.data.batches import LabelledSet
from genseg_betty.data.cache.ledger import SETTLING
from genseg_betty.data.cases import open_dataset
from genseg_betty.data.loading import load_data
from genseg_betty.data.phantom import draw_phantom
from genseg_betty.data.source.case import Case
from genseg_betty.device import resolve_device
from genseg_betty.losses import segmentation_loss

RESULTS = Path(__file__).parent / "results"
EXTRA = ["extra-validation", "extra-test"]
DRAWN = 384  # pixels a side of drawn images: like most published ones, larger than what is trained on
BATCH = 4

Pairs = tuple[Tensor, Tensor]  # images [N, 3, size, size] float32 in [-1, 1], masks [N, size, size] int64


def lay_out(arguments: argparse.Namespace, root: Path) -> tuple[str, list[Case]]:
    """Copy or draw as many pairs as are asked for into root/images and root/masks; their origin, and the cases.

    Two small drawn pairs stand beside them, for no dataset can do without a validation and a test image.
    """
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    real = Path(os.environ.get("GENSEG_DATA", "data")) / "isic"
    name = "folder" if arguments.data else "isic" if real.is_dir() else "drawn"
    if name == "drawn":
        for index in range(arguments.count):
            draw(root, f"{index:05d}", DRAWN, index)
    else:
        source = open_dataset(load_dataset_config(name, root=arguments.data or real))
        for case in source.cases[: arguments.count]:
            shutil.copy(case.image, root / "images")
            shutil.copy(case.masks[0], root / "masks" / f"{case.image.stem}{case.masks[0].suffix}")
    for index, extra in enumerate(EXTRA):
        draw(root, extra, 64, index)
    time.sleep(SETTLING + 1)  # the cache does not trust files that have just been written
    cases = open_dataset(load_dataset_config("folder", root=root)).cases
    return name, [case for case in cases if case.id not in EXTRA]


def draw(root: Path, name: str, size: int, index: int) -> None:
    """A lesion as JPEG, its mask as PNG: the formats of ISIC."""
    sample = draw_phantom("lesion", "source", size, 0, index)
    Image.fromarray(sample.image.astype(np.uint8)).save(root / "images" / f"{name}.jpg", quality=95)
    assert sample.mask is not None
    Image.fromarray((255 * sample.mask).astype(np.uint8)).save(root / "masks" / f"{name}.png")


def our_config(root: Path, cases: list[Case], size: int) -> DictConfig:
    """All cases for training."""
    file = root.parent / "split.json"
    file.write_text(json.dumps({"train": [case.id for case in cases], "validation": EXTRA[:1], "test": EXTRA[1:]}))
    dataset = OmegaConf.to_container(load_dataset_config("folder", root=root))
    dataset |= {"channels": 3, "n_labelled": None, "split": {"file": str(file)}}  # type: ignore[operator]
    return OmegaConf.create({"dataset": dataset, "image_size": size, "seed": 0, "ood": []})


def ours(config: DictConfig, cache: Path) -> Pairs:
    """Everything before the first step: files paired, checked, hashed, read, fitted, and kept in the cache."""
    os.environ["GENSEG_CACHE"] = str(cache)
    bundle = load_data(config)
    return bundle.train.images, bundle.train.masks


def plain_loop(cases: list[Case], size: int) -> Pairs:
    """Pillow and NumPy, one pair after the other, nothing checked."""
    images, masks = [], []
    for case in cases:
        with Image.open(case.image) as image:
            pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
        images.append((pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1))
        with Image.open(case.masks[0]) as mask:
            labels = np.asarray(mask.convert("L").resize((size, size), Image.Resampling.NEAREST))
        masks.append((labels > 127).astype(np.int64))
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


def monai_transform(size: int) -> Any:
    from monai import transforms

    keys = ("image", "mask")
    return transforms.Compose(
        [
            transforms.LoadImaged(
                keys, reader="PILReader", converter=lambda image: image if image.mode == "L" else image.convert("RGB")
            ),
            transforms.EnsureChannelFirstd(keys),
            transforms.Resized(keys, (size, size), mode=("bilinear", "nearest"), anti_aliasing=(True, False)),
            transforms.ScaleIntensityRanged("image", 0, 255, -1, 1),
            transforms.AsDiscreted("mask", threshold=127),
            transforms.EnsureTyped(keys, dtype=(torch.float32, torch.int64), track_meta=False),
        ]
    )


def monai_cached(cases: list[Case], size: int) -> Pairs:
    """CacheDataset: all in memory, by as many threads as there are processors."""
    from monai.data import CacheDataset

    files = [{"image": str(case.image), "mask": str(case.masks[0])} for case in cases]
    return _stacked(CacheDataset(files, monai_transform(size), num_workers=os.cpu_count(), progress=False))


def monai_persistent(cases: list[Case], size: int, folder: Path) -> Pairs:
    """PersistentDataset: MONAI's cache on disk, by file names."""
    from monai.data import PersistentDataset

    files = [{"image": str(case.image), "mask": str(case.masks[0])} for case in cases]
    return _stacked(PersistentDataset(files, monai_transform(size), cache_dir=folder))


def _stacked(dataset: Any) -> Pairs:
    pairs = [dataset[index] for index in range(len(dataset))]
    # MONAI's reader has width before height.
    images = torch.stack([pair["image"].transpose(1, 2) for pair in pairs])
    return images, torch.stack([pair["mask"][0].T for pair in pairs])


def measure(ways: dict[str, Callable[[], Pairs]], rounds: int) -> tuple[dict[str, Any], dict[str, Pairs]]:
    """Median seconds of each way by the wall and by the processors, the ways in turn; the first pairs of each."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    first: dict[str, Pairs] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            wall, processors = time.perf_counter(), time.process_time()
            images, masks = way()
            spent[name].append((time.perf_counter() - wall, time.process_time() - processors))
            first[name] = images[:8].clone(), masks[:8].clone()
            del images, masks
    medians = {name: [median(values) for values in zip(*pairs, strict=True)] for name, pairs in spent.items()}
    return {name: {"seconds": wall, "cpu_seconds": cpu} for name, (wall, cpu) in medians.items()}, first


def require_alike(results: dict[str, Pairs]) -> None:
    """All ways must have read the same pictures, up to how they resize."""
    expected_image, expected_mask = next(iter(results.values()))
    for name, (image, mask) in results.items():
        far = (image - expected_image).abs().mean().item()
        other = (mask != expected_mask).double().mean().item()
        if image.shape != expected_image.shape or far > 0.05 or other > 0.02:
            raise SystemExit(f"{name} read other pictures: they differ by {far:.3f}, their masks in {other:.1%}")


def batch_and_step(pairs: Pairs, size: int) -> dict[str, float | str]:
    """Seconds of one `LabelledSet.batch` and of one step of the smallest network, on the device that trains."""
    config = compose(["backbone=unet_classic", "trainer=quick", f"image_size={size}"])
    device = resolve_device("auto")
    labelled = LabelledSet([str(index) for index in range(len(pairs[0]))], *pairs).to(device)
    network = build_segmenter(config, 3, 1).to(device)
    optimizer = build_optimizer(config.trainer.optimizers.segmenter, network)
    loss = segmentation_loss("bce", 1)

    def draw(count: int) -> Any:
        return labelled.batch([(count * BATCH + index) % len(labelled) for index in range(BATCH)])

    def step(count: int) -> None:
        batch = draw(count)
        optimizer.zero_grad()
        loss(network(batch.image), batch.mask).backward()
        optimizer.step()

    def seconds(work: Callable[[int], Any], times: int) -> float:
        work(0)
        taken = []
        for count in range(times):
            start = time.perf_counter()
            work(count)
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
        return median(taken)

    return {"device": device.type, "batch": seconds(draw, 100), "step": seconds(step, 5)}


def table(found: dict[str, Any]) -> str:
    lines = ["| way | images/s | seconds | CPU-seconds |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {found['count'] / spent['seconds']:.0f} | {spent['seconds']:.2f} | {spent['cpu_seconds']:.2f} |"
        for name, spent in found["ways"].items()
    ]
    batch, step = found["step"]["batch"], found["step"]["step"]
    head = (
        f"{found['count']} image-mask pairs ({found['data']}) from files to tensors of {found['size']}² in memory, "
        f"median of {found['rounds']} rounds; {found['machine']}. The files lie in the operating system's memory."
    )
    tail = (
        f"A batch of {BATCH} from memory takes {1000 * batch:.2f} ms; a step of the smallest network (quick, base 16) "
        f"{1000 * step:.0f} ms on {found['step']['device']}: {100 * batch / step:.2g} % of it."
    )
    return "\n".join([head, "", *lines, "", tail, ""])


def run(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    size = arguments.size
    data, cases = lay_out(arguments, scratch / "data")
    config = our_config(scratch / "data", cases, size)
    caches = [scratch / f"cache{number}" for number in range(arguments.rounds)]
    fresh = iter(caches)
    ways: dict[str, Callable[[], Pairs]] = {
        "genseg-betty, first start (all files checked)": lambda: ours(config, next(fresh)),
        "genseg-betty, later starts": lambda: ours(config, caches[0]),
        "plain loop, Pillow + NumPy": lambda: plain_loop(cases, size),
        "MONAI CacheDataset": lambda: monai_cached(cases, size),
        "MONAI PersistentDataset, first start": lambda: monai_persistent(cases, size, scratch / f"monai{time.time()}"),
        "MONAI PersistentDataset, later starts": lambda: monai_persistent(cases, size, scratch / "monai"),
    }
    ways["MONAI PersistentDataset, later starts"]()
    spent, first = measure(ways, arguments.rounds)
    require_alike(first)
    machine = f"{os.cpu_count()} processors, {torch.get_num_threads()} threads of torch, {platform.machine()}"
    return {
        "data": data,
        "count": len(cases),
        "size": size,
        "rounds": arguments.rounds,
        "machine": machine,
        "versions": {name: version(name) for name in ("torch", "numpy", "pillow", "monai")},
        "ways": spent,
        "step": batch_and_step(plain_loop(cases[:32], size), size),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder that holds images/ and masks/")
    parser.add_argument("--count", type=int, default=1200, help="images to read")
    parser.add_argument("--size", type=int, default=256, help="side in memory, pixels")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="monai")
    with tempfile.TemporaryDirectory() as scratch:
        found = run(arguments, Path(scratch))
    text = table(found)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    name = f"loading-{found['data']}"
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
