"""Blocks of pixels as channels of one pixel: detail that costs no more than colour does."""

from torch import Tensor

# The axes of a block, for the order of its values.
ROW, COLUMN, CHANNEL = 2, 4, 5


def blocks(images: Tensor, side: int, order: tuple[int, int, int]) -> Tensor:
    """The values of each block of side x side pixels as the channels of one.

    Nothing is computed, so that integers stay as they are. They are moved with the channels last,
    as they lie in the image of a file and in a graph of integers.

    Args:
        images: (B, C, H, W) of any dtype, sides multiples of ``side``.
        order: ROW, COLUMN and CHANNEL, that which varies slowest first.

    Returns:
        (B, C * side ** 2, H / side, W / side), of the same dtype.
    """
    batch, channels, height, width = images.shape
    rows, columns = height // side, width // side
    last = images.permute(0, 2, 3, 1)
    parts = last.reshape(batch, rows, side, columns, side, channels).permute(0, 1, 3, *order)
    return parts.reshape(batch, rows, columns, channels * side**2).permute(0, 3, 1, 2)
