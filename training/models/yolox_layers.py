"""The layers that YOLOX is built of; their names are those of the public repository."""

import torch
from torch import Tensor, nn

from training.models.blocks import CHANNEL, COLUMN, ROW, blocks


class Conv(nn.Module):
    """Convolution, batch norm and SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class DepthwiseConv(nn.Module):
    """A convolution of each channel alone, then one across channels."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
        super().__init__()
        self.dconv = Conv(inputs, inputs, kernel, stride, groups=inputs)
        self.pconv = Conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pconv(self.dconv(x))
        return out


def conv(depthwise: bool, inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    """A convolution of the kind that a size of the family is made of."""
    kind = DepthwiseConv if depthwise else Conv
    return kind(inputs, outputs, kernel, stride)


class Bottleneck(nn.Module):
    """1 x 1 then 3 x 3 convolution, added to the input where ``shortcut`` says so."""

    def __init__(self, channels: int, shortcut: bool, depthwise: bool):
        super().__init__()
        self.conv1 = Conv(channels, channels, 1)
        self.conv2 = conv(depthwise, channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x))
        return out + x if self.shortcut else out


class CSPLayer(nn.Module):
    """Cross-stage partial layer: half the channels pass through bottlenecks, half go round."""

    def __init__(self, inputs: int, outputs: int, repeats: int, shortcut: bool, depthwise: bool):
        super().__init__()
        hidden = outputs // 2
        self.conv1 = Conv(inputs, hidden, 1)
        self.conv2 = Conv(inputs, hidden, 1)
        self.conv3 = Conv(2 * hidden, outputs, 1)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut, depthwise) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv3(torch.cat((self.m(self.conv1(x)), self.conv2(x)), 1))
        return out


class SPPBottleneck(nn.Module):
    """Spatial pyramid pooling with windows of 5, 9 and 13."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = channels // 2
        self.conv1 = Conv(channels, hidden, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13))
        self.conv2 = Conv(4 * hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        out: Tensor = self.conv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))
        return out


class Focus(nn.Module):
    """Four neighbouring pixels become channels of one, then a convolution."""

    def __init__(self, outputs: int):
        super().__init__()
        self.conv = Conv(12, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(blocks(x, 2, (COLUMN, ROW, CHANNEL)).float())
        return out
