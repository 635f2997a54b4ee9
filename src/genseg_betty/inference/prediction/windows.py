"""Logits of volumes by windows, as many at once as the memory holds.

Neighbouring windows overlap and are averaged with Gaussian weights (MONAI). A GPU computes several at once; where the
whole volume's logits take more than a share of its free memory they are gathered in main memory.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genseg_betty.backbones.sliding import slide
from genseg_betty.device import free_memory, is_out_of_memory
from genseg_betty.errors import UserError
from genseg_betty.inference.recorded import FLOAT_BYTES

LARGEST_BATCH = 4  # windows on a GPU; more make it no faster
GATHERED = 3  # arrays of the volume's size while windows are gathered: logits, their weights, and a copy
SHARE = 0.5  # of the free memory of a GPU that these may take
CPU = torch.device("cpu")


class Windows:
    """A segmenter of volumes: image [1, C, *] -> logits [1, outputs, *] of the same size, on the CPU.

    Args:
        network: windows [B, C, *window] -> logits, on `device`.
        window: the size that the network was trained on.
        outputs: number of its outputs.

    What did not fit into the memory is not tried again with the next volume.
    """

    def __init__(
        self, network: Callable[[Tensor], Tensor], window: Sequence[int], outputs: int, device: torch.device
    ) -> None:
        self.network = network
        self.window = tuple(window)
        self.outputs = outputs
        self.device = device
        self.batch_size = 1 if device.type == "cpu" else LARGEST_BATCH

    def __call__(self, image: Tensor) -> Tensor:
        """Raises UserError for a volume of which not even one window fits into the memory."""
        place = self._choose_place(image)
        while True:
            try:
                logits = slide(self.network, image.to(place), self.window, self.batch_size, self.device)
                return logits.float().to(CPU)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                fault = error
            # The failed attempt has been left, so that its tensors are free by now.
            if self.batch_size > 1:
                self.batch_size //= 2
            elif place != CPU:
                place = CPU
            else:
                sides = " x ".join(map(str, self.window))
                raise UserError(
                    f"one window of {sides} voxels does not fit into the memory of the device ({self.device.type}): "
                    "use device=cpu, or a machine with more memory"
                ) from fault
            _empty_cache(self.device)

    def _choose_place(self, image: Tensor) -> torch.device:
        """Where the logits of the whole volume are gathered: on the device if they fit beside the windows."""
        if self.device.type == "cpu":
            return CPU
        voxels = math.prod(image.shape[2:])
        planes = image.shape[1] + GATHERED * self.outputs
        needed = voxels * planes * FLOAT_BYTES
        fits = needed <= SHARE * free_memory(self.device)
        return self.device if fits else CPU


def _empty_cache(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
