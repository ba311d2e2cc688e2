"""The U-Net family: one crop of 64 x 64 pixels in, the mask of the cell in its middle out.

``full`` is the published segmenter (VSM paper, section 2.3): mmsegmentation's U-Net with an ASPP
decode head and, while training, an auxiliary FCN head. ``slim`` keeps the U-Net's shape with a
sixteenth of the arithmetic and a plain head, for two CPU cores.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

CLASSES = 2  # background, cell


class Size(NamedTuple):
    """One member of the family: channels of the first stage, stages, and what the head is."""

    base: int
    stages: int
    aspp: bool


SIZES = {"full": Size(64, 5, aspp=True), "slim": Size(16, 4, aspp=False)}
_AUXILIARY_CHANNELS = 64
_ASPP_CHANNELS = 16
_ASPP_DILATIONS = (1, 12, 24, 36)


class Segmenter(nn.Module):
    """U-Net: (B, 3, H, W) float RGB in [0, 255] to (B, 2, H, W) logits of background and cell.

    H and W are multiples of 2 ** (stages - 1). In training mode of ``full`` the auxiliary head's
    logits, (B, 2, H / 2, W / 2), come second.
    """

    def __init__(self, size: str) -> None:
        super().__init__()
        base, stages, aspp = SIZES[size]
        widths = [base * 2**i for i in range(stages)]
        self.encoder = nn.ModuleList(
            _double(3 if i == 0 else widths[i - 1], widths[i]) for i in range(stages)
        )
        self.decoder = nn.ModuleList(Up(widths[i + 1], widths[i]) for i in range(stages - 1))
        self.head = ASPPHead(base) if aspp else nn.Conv2d(base, CLASSES, 1)
        self.auxiliary = FCNHead(2 * base) if aspp else None

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = images / 127.5 - 1.0
        skips = []
        for i, stage in enumerate(self.encoder):
            x = stage(nn.functional.max_pool2d(x, 2) if i else x)
            skips.append(x)
        above = x
        for i in reversed(range(len(self.decoder))):
            above, x = x, self.decoder[i](x, skips[i])
        if self.auxiliary is not None and self.training:
            return self.head(x), self.auxiliary(above)
        return (self.head(x),)


class Up(nn.Module):
    """Bilinear upsampling and a 1 x 1 convolution, joined with the encoder's map."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.narrow = _conv(inputs, outputs, 1)
        self.convs = _double(2 * outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.convs(torch.cat((skip, self.narrow(self.upsample(x))), 1))
        return out


class ASPPHead(nn.Module):
    """Atrous spatial pyramid pooling (DeepLabv3, section 3.3) and the class layer."""

    def __init__(self, inputs: int):
        super().__init__()
        channels = _ASPP_CHANNELS
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), _conv(inputs, channels, 1))
        self.branches = nn.ModuleList(
            _conv(inputs, channels, 1 if d == 1 else 3, d) for d in _ASPP_DILATIONS
        )
        self.fuse = _conv((len(_ASPP_DILATIONS) + 1) * channels, channels, 3)
        self.classes = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(channels, CLASSES, 1))

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(x).expand(-1, -1, x.shape[-2], x.shape[-1])
        maps = [pooled, *(branch(x) for branch in self.branches)]
        out: Tensor = self.classes(self.fuse(torch.cat(maps, 1)))
        return out


class FCNHead(nn.Module):
    """One convolution and the class layer, on the map before the last; used in training only."""

    def __init__(self, inputs: int):
        super().__init__()
        self.conv = _conv(inputs, _AUXILIARY_CHANNELS, 3)
        self.classes = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(_AUXILIARY_CHANNELS, CLASSES, 1))

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


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, outputs, 3), _conv(outputs, outputs, 3))
