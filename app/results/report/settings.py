"""With what an output folder was made, and how to cite it, as parts of the report's page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .text import text

_APP = Path(__file__).parents[2]
# Installed it lies inside the package; in a checkout, and in the image, beside it.
_CITATIONS = _APP / "CITATION.cff", _APP.parent / "CITATION.cff"
_LISTED = "images", "missing", "done", "failed", "runs", "graphs", "method", "version", "commit"
_MOST_RUNS = 20


def settings(run: Mapping[str, Any]) -> str:
    """Versions, networks, options, runs and the numbers of the method, each as a table."""
    version = {"version": run.get("version"), "commit": run.get("commit")}
    options = {key: value for key, value in run.items() if key not in _LISTED}
    return "".join(
        (
            _table("Software", version),
            *(_table("Network", graph) for graph in run.get("graphs", ())),
            _table("Options", options),
            _runs(run.get("runs", {})),
            _table("Method", run.get("method", {})),
        )
    )


def citation() -> str:
    """The text of CITATION.cff; "" where that is not there."""
    for path in _CITATIONS:
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return ""


def _runs(runs: Mapping[str, Any]) -> str:
    """The first runs, for a folder may have had a thousand."""
    tables = [_table(f"Run {name}", runs[name]) for name in sorted(runs)]
    more = len(tables) - _MOST_RUNS
    rest = f"<p>and {more:,} more runs, in run.json</p>" if more > 0 else ""
    return "".join(tables[:_MOST_RUNS]) + rest


def _table(title: str, values: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{text(key)}</th><td>{text(_value(value))}</td></tr>'
        for key, value in values.items()
    )
    return f"<table><caption>{text(title)}</caption><tbody>{rows}</tbody></table>" if rows else ""


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(each)}" for key, each in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
