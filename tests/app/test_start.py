"""What the command does before it begins."""

import gc
import os

from app import __main__
from app.running import run as runs


def test_garbage_is_looked_for_again_once_all_is_imported(tmp_path, monkeypatch):
    seen = []

    def run(*_, **__):
        seen.append((gc.isenabled(), gc.get_freeze_count() > 0))
        return 0

    monkeypatch.setattr(runs, "run", run)
    monkeypatch.setattr(__main__, "supervise", lambda work, _: work(False))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    try:
        assert __main__.main([str(tmp_path), str(tmp_path / "out")]) == 0
    finally:
        gc.unfreeze()
    assert seen == [(True, True)]
