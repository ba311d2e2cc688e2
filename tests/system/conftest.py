"""The folders of images of the predictor's tests."""

from tests.app.conftest import folder, three

__all__ = ["folder", "three"]
