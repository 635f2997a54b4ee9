"""The sizes of a Swin-Unet, and whether they fit each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from genseg_betty.errors import UserError

PATCH = 4
HEAD_WIDTH = 32  # channels of an attention head, where there are so many


@dataclass(frozen=True)
class Stages:
    """The sizes of a Swin-Unet.

    Args:
        base_channels: width of the first stage (96: Swin-T), doubled by each of the others.
        depths: blocks of each encoder stage; every other block shifts its windows.
        decoder_depths: blocks of each decoder stage, from stride 16 to stride 4.
        chosen_heads: attention heads of each encoder stage, and of the decoder at the same stride; None: one for 32
            channels.
        window: side of the attention windows, in features of a stage.
        drop_path: rate at which the deepest block is skipped in training; 0 for the first, rising in between.

    Raises:
        UserError: numbers that are no sizes, or that do not fit each other.
    """

    base_channels: int
    depths: Sequence[int]
    decoder_depths: Sequence[int]
    chosen_heads: Sequence[int] | None
    window: int
    drop_path: float

    def __post_init__(self) -> None:
        for find_problems in (self._find_wrong_numbers, self._find_misfits):
            problems = find_problems()
            if problems:
                raise UserError("\n".join(problems))

    @property
    def widths(self) -> list[int]:
        """Channels of each encoder stage."""
        return [self.base_channels * 2**level for level in range(len(self.depths))]

    @property
    def heads(self) -> Sequence[int]:
        """Attention heads of each encoder stage."""
        if self.chosen_heads is not None:
            return self.chosen_heads
        return [_choose_heads(width) for width in self.widths]

    @property
    def stride(self) -> int:
        """Pixels between the features of the last stage."""
        return PATCH * 2 ** (len(self.depths) - 1)

    def _find_wrong_numbers(self) -> list[str]:
        """Numbers that are wrong by themselves."""
        problems = []
        lists = {
            "depths": self.depths,
            "decoder_depths": self.decoder_depths,
            "heads": self.chosen_heads,
        }
        for name, numbers in lists.items():
            if numbers is None:
                continue
            is_missing = name == "depths" and not numbers
            if is_missing or min(numbers, default=1) < 1:
                found = f"backbone.{name}={list(numbers)}"
                problems.append(f"{found}: expected a number for each stage, all at least 1")
        sizes = {"base_channels": self.base_channels, "window": self.window}
        for name, number in sizes.items():
            if number < 1:
                problems.append(f"backbone.{name}={number}: expected at least 1")
        if not 0 <= self.drop_path < 1:
            problems.append(f"backbone.drop_path={self.drop_path}: expected a rate, 0 <= drop_path < 1")
        return problems

    def _find_misfits(self) -> list[str]:
        """Numbers that do not fit each other."""
        problems = []
        heads = f"backbone.heads={list(self.heads)}"
        expected = len(self.depths) - 1
        if len(self.decoder_depths) != expected:
            problems.append(
                f"backbone.decoder_depths={list(self.decoder_depths)}: expected {expected} numbers, one fewer than "
                f"backbone.depths={list(self.depths)}"
            )
        if len(self.heads) != len(self.depths):
            problems.append(f"{heads}: expected {len(self.depths)} numbers, as many as backbone.depths")
        for width, number in zip(self.widths, self.heads, strict=False):
            if width % number:
                problems.append(
                    f"{heads}: {number} heads cannot share {width} channels (base_channels={self.base_channels}, "
                    "doubled by each stage); expected a divisor, or null"
                )
        return problems


def _choose_heads(width: int) -> int:
    """The most heads of at least 32 channels that divide `width`."""
    heads = max(width // HEAD_WIDTH, 1)
    while width % heads:
        heads -= 1
    return heads
