"""Run the training script of GenSeg's authors as they wrote it, and time its joint iterations.

    python benchmarks/versus_reference.py --reference DIR --betty DIR

`--reference` is a checkout of their repository, importZL/GenSeg: it is run, not changed, and no line of it is here.
`--betty` is a folder with the betty-ml that it asks for. Images and masks are random, in the layout that their script
for chest X-rays reads; the options are those that they give it, where they bear on an iteration. It works in a
temporary folder, and its process is its own. Prints JSON. What it finds otherwise than on the authors' machine:

- `betty.engine.Engine.train_step` has a clock around it; what the authors do between two such calls is not timed.
- wandb, imgaug and pixelssl are empty: nothing is tracked, masks stay where they are, which saves the authors' code
  some time, and the DeepLab that needs pixelssl is not used.
- The generator and discriminator are not read from the authors' files; they start as drawn.
- Their images are 256 x 256, written into their loader; at another `--size`, resizing to that gives the other size.
- Without a GPU, CUDA devices are the CPU, and networks are not distributed over GPUs.

Processor time is that of the process itself: the four workers of each of their loaders are not counted.
"""

import argparse
import contextlib
import json
import os
import runpy
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from PIL import Image

from genseg_betty.device import peak_memory
from genseg_betty.memory import reuse_freed

SCRIPT = "running_files/train_end2end_jsrt.py"
FOLDERS = {"JSRT": (9, ""), "NLM": (1, ""), "SZ": (1, "_mask")}  # images, and how the names of the masks end
THEIR_SIZE = (256, 256)
BATCH = 2  # as theirs, which their two validation images fill
Device = torch.device  # the true one


def write_images(root: Path, size: int) -> None:
    """Grey noise and square masks: time and memory do not depend on them."""
    generator = np.random.default_rng(0)
    for name, (count, suffix) in FOLDERS.items():
        for folder in ("Images", "Masks"):
            (root / name / folder).mkdir(parents=True)
        for index in range(count):
            noise = generator.integers(0, 256, (size, size), dtype=np.uint8)
            Image.fromarray(noise).save(root / name / "Images" / f"{index}.png")
            mask = np.zeros((size, size), dtype=np.uint8)
            mask[size // 4 : size // 2, size // 4 : size // 2] = 255
            Image.fromarray(mask).save(root / name / "Masks" / f"{index}{suffix}.png")


def put(target: Any, name: str, value: Any) -> None:
    """Replace target.name for the rest of the process."""
    patch.object(target, name, value).start()


def leave_out_packages() -> None:
    for name in ("wandb", "pixelssl", "imgaug"):
        sys.modules[name] = MagicMock()
    sys.modules["imgaug"].augmenters.Sequential = lambda *args, **kwargs: lambda images: images


class _OfTrueDevices(type):
    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, Device)


class CpuForCuda(metaclass=_OfTrueDevices):
    """In place of `torch.device`: the device asked for, but the CPU for CUDA."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        asked = Device(*args, **kwargs)
        return Device("cpu") if asked.type == "cuda" else asked


def do_without_cuda() -> None:
    put(torch, "device", CpuForCuda)
    put(torch.Tensor, "cuda", lambda tensor, *args: tensor)
    put(torch.cuda, "set_device", lambda index: None)
    put(torch.cuda, "FloatTensor", torch.FloatTensor)
    networks = import_module("models_pix2pix.networks")
    as_drawn = networks.init_net
    put(networks, "init_net", lambda net, kind, gain, gpus: as_drawn(net, kind, gain, []))


def resize_to(size: int) -> None:
    resize = Image.Image.resize

    def resized(image: Image.Image, shape: tuple[int, int], *args: Any, **kwargs: Any) -> Image.Image:
        return resize(image, (size, size) if shape == THEIR_SIZE else shape, *args, **kwargs)

    put(Image.Image, "resize", resized)


def clocked(train_step: Callable[[Any], None], iterations: list[dict[str, Any]]) -> Callable[[Any], None]:
    """The step of Betty's engine, which adds what it took to `iterations`."""

    def synchronised() -> tuple[float, float]:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    def step(engine: Any) -> None:
        wall, processors = synchronised()
        train_step(engine)
        wall_after, processors_after = synchronised()
        parameters = {p.name: sum(w.numel() for w in p.module.parameters()) for p in engine.problems}
        iterations.append(
            {
                "seconds": wall_after - wall,
                "cpu_seconds": processors_after - processors,
                "generator_parameters": parameters["netG"],
                "segmenter_parameters": parameters["unet"],
            }
        )

    return step


def options(arguments: argparse.Namespace, data: Path) -> list[str]:
    """The authors' own for chest X-rays; no validation within so few iterations."""
    authors = (
        "--model pix2pix --is_train True --cuda True --gpu_ids 0 --cuda_index 0 --loss_lambda 1.0 --lr 2e-6 "
        "--arch_lr 1e-6 --lr_d_dcgan 0 --classes 1 --output_nc 1 --input_nc 1 --seg_model unet "
        f"--unet_learning_rate 1e-4 --display_freq 1000000 --n_epochs {1 + arguments.iterations} "
        f"--batch_size {BATCH} --netG unet_{arguments.size} --dataroot"
    )
    return [*authors.split(), str(data / "JSRT")]


def measure(arguments: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Mean of the iterations after the first, and the peak memory of the whole run."""
    write_images(root / "data", arguments.size)
    (root / "code" / "checkpoint_lung_new").mkdir(parents=True)
    os.chdir(root / "code")
    sys.dont_write_bytecode = True  # nothing into their folder
    sys.path[:0] = [str(arguments.reference), str(arguments.betty)]
    leave_out_packages()
    if not torch.cuda.is_available():
        do_without_cuda()
    if arguments.size != THEIR_SIZE[0]:
        resize_to(arguments.size)
    put(import_module("models_pix2pix.pix2pix_model").Pix2PixModel, "load_model", lambda model, *files: None)
    engine = import_module("betty.engine").Engine
    iterations: list[dict[str, Any]] = []
    put(engine, "train_step", clocked(engine.train_step, iterations))
    sys.argv = [SCRIPT, *options(arguments, root / "data")]
    runpy.run_path(str(arguments.reference / SCRIPT), run_name="__main__")
    counted = iterations[1:]
    row = {key: sum(iteration[key] for iteration in counted) / len(counted) for key in counted[0]}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return row | {"peak_gib": peak_memory(device) / 2**30, "betty": version("betty-ml")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=lambda path: Path(path).resolve(), required=True)
    parser.add_argument("--betty", type=lambda path: Path(path).resolve(), required=True)
    parser.add_argument("--size", type=int, default=256, choices=(128, 256))
    parser.add_argument("--iterations", type=int, default=1, help="counted iterations")
    parser.add_argument("--reuse-memory", action="store_true", help="keep freed memory for the next tensors, as we do")
    arguments = parser.parse_args()
    if arguments.reuse_memory:
        reuse_freed()
    with tempfile.TemporaryDirectory() as root, contextlib.redirect_stdout(sys.stderr):
        row = measure(arguments, Path(root))
        os.chdir(arguments.reference)  # out of the folder that goes
    print(json.dumps(row))


if __name__ == "__main__":
    main()
