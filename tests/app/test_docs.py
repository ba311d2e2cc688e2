"""The code of docs/python.md does what the page says."""

import re
import sys
from pathlib import Path

import numpy as np

import app

PAGE = Path("docs/python.md")


def test_the_page_for_python(monkeypatch):
    monkeypatch.setitem(sys.modules, "vsm", app)  # what it is called when installed
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE}, block {number}", "exec"), names)
    result, image, areas = names["result"], names["image"], names["areas"]
    assert result.labels.shape == image.shape and len(areas) > 50
    assert result.labels.max() == len(result.boxes) == len(result.scores)
    assert 0 < len(np.unique(names["only_sure"])) - 1 == len(names["sure"]) < len(areas)
    assert names["largest"].size >= 0.9 * areas.max()
    assert [len(each.scores) > 0 for each in names["results"]] == [True] * 3
