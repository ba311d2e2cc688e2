"""The stages of a configuration in double precision, in which rounding hides nothing.

python -m tests.training.train_double CONFIG DATA RUN
"""

import sys
from pathlib import Path
from unittest.mock import patch

import torch

from training import processes
from training.config import load_config
from training.train import make_task
from training.trainer import Trainer


def main(path: Path, data: Path, run: Path) -> None:
    config = load_config(path)
    torch.set_default_dtype(torch.float64)
    try:
        with (
            patch.object(torch.Tensor, "float", torch.Tensor.double),
            # Scores and curves take time and change no weight.
            patch.object(Trainer, "_validate", return_value={}),
            patch("training.trainer.plot"),
            processes.joined(),
        ):
            for name, stage in config.stages.items():
                torch.manual_seed(stage.seed)
                task = make_task(stage, config.method, data, run)
                Trainer(task, config.method, run / name).run()
    finally:
        torch.set_default_dtype(torch.float32)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
