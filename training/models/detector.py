"""The YOLOX family: one backbone, neck and head, scaled by depth and width.

Source: YOLOX (Ge et al. 2021, arXiv 2107.08430). Module names end as those of the public YOLOX
repository do, so that a run can start from its checkpoints (training/initial_weights.py).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.models.yolox_layers import Conv, CSPLayer, Focus, SPPBottleneck, conv

STRIDES = (8, 16, 32)
# Every side of an image must be a multiple of this.
GRANULARITY = STRIDES[-1]


class Size(NamedTuple):
    """One member of the family."""

    depth: float
    width: float
    depthwise: bool = False


SIZES = {
    "nano": Size(0.33, 0.25, depthwise=True),
    "tiny": Size(0.33, 0.375),
    "s": Size(0.33, 0.50),
    "m": Size(0.67, 0.75),
    "l": Size(1.0, 1.0),
    "x": Size(1.33, 1.25),
}


class Predictions(NamedTuple):
    """What the detector says at each of its A anchor points, level by level, row by row.

    boxes: (B, A, 4) float32 xyxy, pixels of the input image.
    distances: (B, A, 4) raw box terms: centre offset in strides, log of size in strides.
    objectness: (B, A) logits.
    classes: (B, A, C) logits.
    """

    boxes: Tensor
    distances: Tensor
    objectness: Tensor
    classes: Tensor


class Detector(nn.Module):
    """YOLOX: image to a box, an objectness and class scores at every anchor point.

    Args:
        size: a key of ``SIZES``.
        classes: number of classes; cells are one.
    """

    def __init__(self, size: str, classes: int = 1) -> None:
        super().__init__()
        depth, width, depthwise = SIZES[size]
        self.backbone = Backbone(depth, width, depthwise)
        self.neck = Neck(depth, width, depthwise)
        self.head = Head(width, classes, depthwise)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = 1e-3, 0.03

    def forward(self, images: Tensor) -> Predictions:
        """Predict.

        Args:
            images: (B, 3, H, W) float or uint8 RGB in [0, 255], sides multiples of
                ``GRANULARITY``.
        """
        distances, objectness, classes = [], [], []
        maps = self.head(self.neck(self.backbone(images)))
        for level in maps:
            flat = level.float().flatten(2).transpose(1, 2)  # (B, h * w, 4 + 1 + C)
            distances.append(flat[..., :4])
            objectness.append(flat[..., 4])
            classes.append(flat[..., 5:])
        raw = torch.cat(distances, 1)
        points, strides = anchor_points(images.shape[-2], images.shape[-1], raw.device)
        return Predictions(
            decode(raw, points, strides), raw, torch.cat(objectness, 1), torch.cat(classes, 1)
        )


def anchor_points(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Grid cells of all levels for an image of this size.

    Returns:
        (A, 2) float32 xy of each cell's upper left corner in units of its stride, (A, 1) strides.
    """
    points, strides = [], []
    for stride in STRIDES:
        rows = torch.arange(height // stride, device=device)
        columns = torch.arange(width // stride, device=device)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        level = torch.stack((x, y), 2).reshape(-1, 2).float()
        points.append(level)
        strides.append(torch.full_like(level[:, :1], stride))
    return torch.cat(points), torch.cat(strides)


def decode(distances: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Raw box terms (B, A, 4) to xyxy boxes in pixels."""
    centres = (distances[..., :2] + points) * strides
    halves = distances[..., 2:].exp() * strides / 2
    return torch.cat((centres - halves, centres + halves), -1)


class Backbone(nn.Module):
    """CSPDarknet: feature maps at strides 8, 16 and 32."""

    def __init__(self, depth: float, width: float, depthwise: bool):
        super().__init__()
        base = int(width * 64)
        repeats = max(round(depth * 3), 1)
        self.stem = Focus(base)

        def stage(level: int, repeats: int) -> list[nn.Module]:
            inputs, outputs = base * 2 ** (level - 2), base * 2 ** (level - 1)
            last = level == 5
            return [
                conv(depthwise, inputs, outputs, 3, 2),
                *([SPPBottleneck(outputs)] if last else []),
                CSPLayer(outputs, outputs, repeats, shortcut=not last, depthwise=depthwise),
            ]

        self.dark2 = nn.Sequential(*stage(2, repeats))
        self.dark3 = nn.Sequential(*stage(3, repeats * 3))
        self.dark4 = nn.Sequential(*stage(4, repeats * 3))
        self.dark5 = nn.Sequential(*stage(5, repeats))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x3 = self.dark3(self.dark2(self.stem(x)))
        x4 = self.dark4(x3)
        return x3, x4, self.dark5(x4)


class Neck(nn.Module):
    """PAFPN: maps pass down to stride 8 and up again, each joined with its neighbour."""

    def __init__(self, depth: float, width: float, depthwise: bool):
        super().__init__()
        c3, c4, c5 = (int(width * c) for c in (256, 512, 1024))
        repeats = round(3 * depth)

        def join(inputs: int, outputs: int) -> CSPLayer:
            return CSPLayer(inputs, outputs, repeats, shortcut=False, depthwise=depthwise)

        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.lateral_conv0 = Conv(c5, c4, 1)
        self.C3_p4 = join(2 * c4, c4)
        self.reduce_conv1 = Conv(c4, c3, 1)
        self.C3_p3 = join(2 * c3, c3)
        self.bu_conv2 = conv(depthwise, c3, c3, 3, 2)
        self.C3_n3 = join(2 * c3, c4)
        self.bu_conv1 = conv(depthwise, c4, c4, 3, 2)
        self.C3_n4 = join(2 * c4, c5)

    def forward(self, maps: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        x3, x4, x5 = maps
        top = self.lateral_conv0(x5)
        middle = self.reduce_conv1(self.C3_p4(torch.cat((self.upsample(top), x4), 1)))
        out3 = self.C3_p3(torch.cat((self.upsample(middle), x3), 1))
        out4 = self.C3_n3(torch.cat((self.bu_conv2(out3), middle), 1))
        out5 = self.C3_n4(torch.cat((self.bu_conv1(out4), top), 1))
        return out3, out4, out5


class Head(nn.Module):
    """Decoupled head: classes in one branch, box and objectness in another."""

    def __init__(self, width: float, classes: int, depthwise: bool):
        super().__init__()
        hidden = int(256 * width)

        def branches() -> nn.ModuleList:
            pairs = ([conv(depthwise, hidden, hidden, 3) for _ in range(2)] for _ in STRIDES)
            return nn.ModuleList(nn.Sequential(*pair) for pair in pairs)

        def outputs(channels: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(hidden, channels, 1) for _ in STRIDES)

        self.stems = nn.ModuleList(Conv(int(c * width), hidden, 1) for c in (256, 512, 1024))
        self.cls_convs = branches()
        self.reg_convs = branches()
        self.cls_preds = outputs(classes)
        self.reg_preds = outputs(4)
        self.obj_preds = outputs(1)
        # Start as if one anchor point in a hundred held a cell (focal loss paper, section 4.1).
        for layer in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(layer.bias, -4.595)

    def forward(self, maps: tuple[Tensor, ...]) -> list[Tensor]:
        """Maps to (B, 4 + 1 + C, h, w) at each level: box terms, objectness, classes."""
        out = []
        for k, level in enumerate(maps):
            x = self.stems[k](level)
            cls, reg = self.cls_convs[k](x), self.reg_convs[k](x)
            parts = (self.reg_preds[k](reg), self.obj_preds[k](reg), self.cls_preds[k](cls))
            out.append(torch.cat(parts, 1))
        return out
