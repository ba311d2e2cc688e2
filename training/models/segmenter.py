"""The U-Net family: one crop of 64 x 64 pixels in, the mask of the cell in its middle out.

``full`` is the published segmenter (VSM paper, section 2.3): mmsegmentation's U-Net with an ASPP
decode head and, while training, an auxiliary FCN head. ``slim`` keeps the U-Net's shape with a
sixteenth of the arithmetic and a plain head, for two CPU cores; ``slimmer`` has a quarter of that,
as it works on blocks of 2 x 2 pixels; ``slimmest`` works on blocks of 4 x 4, with fewer stages and
one convolution instead of two on the way up: half the time once more. ``swin`` has a Swin
Transformer for its encoder (table 6).
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.swin_transformer import PatchMerging, swin_t

from training.models.blocks import CHANNEL, COLUMN, ROW, blocks

CLASSES = 2  # background, cell


class Size(NamedTuple):
    """One member of the family: channels of the first stage, stages, what the head is.

    block: side of the blocks of pixels that are taken as one, in and out.
    up: convolutions of each stage on the way up.
    """

    base: int
    stages: int
    aspp: bool = False
    block: int = 1
    up: int = 2


SIZES = {
    "full": Size(64, 5, aspp=True),
    "slim": Size(16, 4),
    "slimmer": Size(16, 4, block=2),
    "slimmest": Size(32, 3, block=4, up=1),
}
SWIN = "swin"
_AUXILIARY_CHANNELS = 64
_ASPP_CHANNELS = 16
_ASPP_DILATIONS = (1, 12, 24, 36)


class Segmenter(nn.Module):
    """(B, 3, H, W) float or uint8 RGB in [0, 255] to (B, C, H, W) logits of background and cell.

    H and W are multiples of 2 ** (stages - 1) blocks, of ``swin`` of 32. In training mode of
    ``full`` the auxiliary head's logits, (B, C, H / 2, W / 2), come second.

    Args:
        size: a key of SIZES, or ``swin``.
        classes: C, where there are more than the two.
    """

    def __init__(self, size: str, classes: int = CLASSES) -> None:
        super().__init__()
        base, stages, aspp, block, up = SIZES.get(size, Size(0, 0))
        self.block = block
        self.encoder: Encoder | SwinEncoder = (
            SwinEncoder()
            if size == SWIN
            else Encoder(3 * block**2, [base * 2**i for i in range(stages)])
        )
        widths = self.encoder.widths
        self.decoder = nn.ModuleList(Up(below, width, up) for width, below in pairwise(widths))
        self.head = ASPPHead(base, classes) if aspp else nn.Conv2d(widths[0], classes * block**2, 1)
        self.auxiliary = FCNHead(widths[1], classes) if aspp else None

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x, above = self.features(images)
        if self.auxiliary is not None and self.training:
            return self.head(x), self.auxiliary(above)
        return (self.unblock(self.head(x)),)

    def certainty(self, images: Tensor) -> Tensor:
        """By how much the logit of the cell is above that of the background, (B, H, W)."""
        background, cell = self.head(self.features(images)[0]).chunk(2, 1)
        return self.unblock(cell - background)[:, 0]

    def unblock(self, blocks: Tensor) -> Tensor:
        """Blocks to the pixels that they stand for."""
        return nn.functional.pixel_shuffle(blocks, self.block)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the heads see: the finest map, and the one before."""
        pixels = blocks(images, self.block, (CHANNEL, ROW, COLUMN)).float()
        *skips, x = self.encoder(pixels / 127.5 - 1.0)
        above = x
        for i in reversed(range(len(self.decoder))):
            above, x = x, self.decoder[i](x, skips[i])
        return x, above


class Encoder(nn.ModuleList):
    """Pairs of convolutions, each at half the resolution of the one before."""

    def __init__(self, inputs: int, widths: list[int]) -> None:
        self.widths = widths
        super().__init__(_convs(*pair, 2) for pair in zip([inputs, *widths], widths, strict=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of (B, widths[i], H / 2 ** i, W / 2 ** i)."""
        maps = []
        for i, stage in enumerate(self):
            x = stage(nn.functional.max_pool2d(x, 2) if i else x)
            maps.append(x)
        return maps


class SwinEncoder(nn.Module):
    """Swin-Transformer-tiny (torchvision's), with convolutions for the two finest maps.

    Source: Liu et al. 2021, section 3; VSM paper, table 6.
    """

    widths = (24, 48, 96, 192, 384, 768)

    def __init__(self) -> None:
        super().__init__()
        self.fine = Encoder(3, list(self.widths[:2]))
        self.stages = swin_t().features  # patches, blocks, and then merging and blocks in turn

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of (B, widths[i], H / 2 ** i, W / 2 ** i)."""
        maps: list[Tensor] = self.fine(x)
        x = self.stages[0](x)
        for stage in self.stages[1:]:
            x = stage(x)
            if not isinstance(stage, PatchMerging):
                maps.append(x.permute(0, 3, 1, 2))
        return maps


class Up(nn.Module):
    """Bilinear upsampling and a 1 x 1 convolution, joined with the encoder's map."""

    def __init__(self, inputs: int, outputs: int, count: int):
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.narrow = _conv(inputs, outputs, 1)
        self.convs = _convs(2 * outputs, outputs, count)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        convolution, norm, relu = self.narrow
        # What is linear in each pixel commutes with the upsampling, and is a quarter of the work.
        above = relu(self.upsample(norm(convolution(x))))
        out: Tensor = self.convs(torch.cat((skip, above), 1))
        return out


class ASPPHead(nn.Module):
    """Atrous spatial pyramid pooling (DeepLabv3, section 3.3) and the class layer."""

    def __init__(self, inputs: int, classes: int):
        super().__init__()
        channels = _ASPP_CHANNELS
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), _conv(inputs, channels, 1))
        self.branches = nn.ModuleList(
            _conv(inputs, channels, 1 if d == 1 else 3, d) for d in _ASPP_DILATIONS
        )
        self.fuse = _conv((len(_ASPP_DILATIONS) + 1) * channels, channels, 3)
        self.classes = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(channels, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(x).expand(-1, -1, x.shape[-2], x.shape[-1])
        maps = [pooled, *(branch(x) for branch in self.branches)]
        out: Tensor = self.classes(self.fuse(torch.cat(maps, 1)))
        return out


class FCNHead(nn.Module):
    """One convolution and the class layer, on the map before the last; used in training only."""

    def __init__(self, inputs: int, classes: int):
        super().__init__()
        self.conv = _conv(inputs, _AUXILIARY_CHANNELS, 3)
        self.classes = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(_AUXILIARY_CHANNELS, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classes(self.conv(x))
        return out


def _conv(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _convs(inputs: int, outputs: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_conv(outputs if i else inputs, outputs, 3) for i in range(count)))
