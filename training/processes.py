"""Training in several processes that torchrun starts: each takes its share of every batch.

The same batch gives the same step as in one process: gradients are averaged (by
DistributedDataParallel), and what depends on a whole batch is computed over all processes, namely
the statistics of batch norm and the number of assigned anchor points that the loss is divided by.
Without torchrun there is one process, and nothing here has an effect.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_reduce
from torch.nn.parallel import DistributedDataParallel

# The others wait while the first one validates.
_PATIENCE = timedelta(hours=12)


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started with this one, on GPUs or, without, on the CPU."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
    yield
    # Not after an error: with NCCL this would wait for processes that wait for this one.
    dist.destroy_process_group()


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def number() -> int:
    """Which of them this is; 0 validates, writes and shows progress."""
    return dist.get_rank() if dist.is_initialized() else 0


def distributed(model: nn.Module) -> nn.Module:
    """The model as it is to be called in training; the parameters stay the model's own."""
    if count() == 1:
        return model
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, _SharedBatchNorm.of(child))
    return DistributedDataParallel(model, forward_sync_buffers=False)


def mean(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars by name, averaged over the processes."""
    stacked = torch.stack([value.detach().float() for value in values.values()])
    if count() > 1:
        dist.all_reduce(stacked)
        stacked /= count()
    return dict(zip(values, stacked.tolist(), strict=True))


def total(value: int, device: torch.device) -> int:
    """The sum of a number over the processes."""
    if count() == 1:
        return value
    summed = torch.tensor(value, device=device)
    dist.all_reduce(summed)
    return int(summed)


def _sum(values: Tensor) -> Tensor:
    """The sum over the processes, with gradients."""
    assert dist.group.WORLD is not None  # there are several processes
    summed: Tensor = all_reduce(values, "sum", dist.group.WORLD)
    return summed


class _SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the samples of all processes; torch's own can't do that on a CPU."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> "_SharedBatchNorm":
        """In place of a batch norm, with the very same parameters and buffers."""
        shared = cls(norm.num_features, norm.eps, norm.momentum)
        shared.weight, shared.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            shared.register_buffer(name, buffer)
        return shared.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide = x.float()
        n = wide.numel() // self.num_features * count()
        mean = _sum(wide.sum((0, 2, 3))) / n
        centred = wide - mean[:, None, None]
        variance = _sum(centred.square().sum((0, 2, 3))) / n
        with torch.no_grad():
            assert self.num_batches_tracked is not None and self.momentum is not None
            assert self.running_mean is not None and self.running_var is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        out: Tensor = (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)
        return out
