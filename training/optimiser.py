"""How weights are changed: the optimiser, its learning rate, and the average of the weights."""

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from training.config import StageConfig

Tensors = tuple[Tensor, ...] | list[Tensor]


def learning_rate(step: int, steps: int, config: StageConfig) -> float:
    """Quadratic warm-up, then a cosine down to a share of the highest rate (YOLOX, section 2)."""
    if step < config.warmup_steps:
        return config.learning_rate * ((step + 1) / config.warmup_steps) ** 2
    done = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
    low = config.final_learning_rate
    return config.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * done)) / 2)


def build_optimiser(model: nn.Module, config: StageConfig) -> torch.optim.Optimizer:
    """The configured optimiser; only kernels decay, not biases and batch norms."""
    groups = [
        {
            "params": [p for p in model.parameters() if p.ndim > 1],
            "weight_decay": config.weight_decay,
        },
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, config.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, config.learning_rate)


def average_weights(model: nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of a model's weights and buffers.

    Args:
        decay: what is kept of the average at each step; less at the first ones, so that it is
            useful from the start.
    """

    @torch.no_grad()
    def average(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(averaged, current)
            return
        kept = min(decay, (1 + float(count)) / (10 + float(count)))
        torch._foreach_lerp_(averaged, current, 1 - kept)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)
