"""Outline every cell of a microscopy image: the predictor, without any training code.

    from app import Segmenter  # installed: from vsm import Segmenter
    labels = Segmenter().segment(image).labels

The path of an image is written top to bottom in ``predict.py``; each other file is one stage of it.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Read by ONNX Runtime when it is imported: images and their counts are nobody else's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Segmentation", "Segmenter", "__version__"]

if TYPE_CHECKING:
    from .segmenter import Segmentation, Segmenter
    from .version import __version__
else:
    _MODULES = {"Segmentation": "segmenter", "Segmenter": "segmenter", "__version__": "version"}

    def __getattr__(name: str) -> Any:
        """Import only what is asked for: the command must start before its libraries are loaded."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
