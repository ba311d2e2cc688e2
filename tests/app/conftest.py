"""A predictor that fails."""

import pytest

from app.predict import Predictor


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
