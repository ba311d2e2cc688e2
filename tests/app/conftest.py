"""Folders of images, and a predictor that fails."""

import pytest

from app.predict import Predictor
from tests.app.command_line import NAMES, picture, write


@pytest.fixture
def folder(tmp_path):
    """With an empty folder ``in``."""
    (tmp_path / "in").mkdir()
    return tmp_path


@pytest.fixture
def three(folder):
    """With three images in its folder ``in``."""
    for n, name in enumerate(NAMES):
        write(folder / "in" / name, picture(100 + n))
    return folder


@pytest.fixture
def strike(monkeypatch):
    """Let prediction of the image of a name raise an error."""
    real = Predictor.predict_file

    def on(name: str, error: BaseException) -> None:
        def struck(self, source, *rest):
            if source.name == name:
                raise error
            return real(self, source, *rest)

        monkeypatch.setattr(Predictor, "predict_file", struck)

    return on
