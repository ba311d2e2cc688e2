"""``training.train`` in double precision, in which rounding hides nothing.

python -m tests.train_double CONFIG STAGE DATA RUN
"""

from typing import Any

import torch

from training.train import main

if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    tensor: Any = torch.Tensor
    tensor.float = torch.Tensor.double
    main()
