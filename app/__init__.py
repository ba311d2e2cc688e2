"""Outline every cell of a microscopy image: the predictor, without any training code.

The path of an image is written top to bottom in ``predict.py``; each other file is one stage of it.
"""

import os

# Read by ONNX Runtime when it is imported: images and their counts are nobody else's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
