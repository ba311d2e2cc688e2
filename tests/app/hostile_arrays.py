"""Arrays of numbers so large or small that arithmetic with them fails where it is careless."""

import numpy as np

from tests.app.made_cells import nuclei

HOSTILE = (
    *("high", "low", "both", "spread", "mixed", "subnormal", "least", "single"),
    *("single subnormal", "half", "halves", "half subnormal"),
    *("integers", "random integers", "unsigned", "long"),
)


def hostile(kind: str, shape: tuple[int, int] = (200, 220)) -> np.ndarray:
    """Arrays at the ends of what numbers can be; (H, W)."""
    rng = np.random.default_rng(15)
    unit, sign = nuclei(rng, shape, 25)[0] / 400, rng.choice([-1.0, 1.0], shape)
    mixed = np.where(rng.random(shape) < 0.2, 1e308 * sign, unit)
    mixed[:9], mixed[9:20], mixed[20:30] = np.nan, np.inf, -np.inf
    return {
        "high": unit * 1.7e308,
        "low": unit * -1.7e308,
        "both": sign * 1.7e308,
        "spread": (rng.random(shape) * 2 - 1) * 1.7e308,
        "mixed": mixed,
        "subnormal": unit * 1e-310,
        "least": rng.integers(0, 3, shape) * 5e-324,
        "single": (unit * 3.4e38).astype(np.float32),
        "single subnormal": (unit * 1e-40).astype(np.float32),
        "half": (unit * 65504).astype(np.float16),
        "halves": (sign * 65504).astype(np.float16),
        "half subnormal": (unit * 6e-6).astype(np.float16),
        "integers": np.where(sign > 0, 2**63 - 1, -(2**63)),
        "random integers": rng.integers(-(2**63), 2**63 - 1, shape),
        "unsigned": rng.integers(0, 2**64 - 1, shape, np.uint64),
        "long": unit.astype(np.longdouble) * np.longdouble("1e308") * 1000,
    }[kind]
