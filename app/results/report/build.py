"""The report of an output folder, as one file."""

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...files.atomic import atomic_write
from ...files.labels import REPORT_FILE
from .gather import Entry, gather
from .page import Shown, failures, sheet, table
from .pictures import budget
from .plots import histogram
from .settings import citation, settings
from .suspicion import judge
from .text import fill, text

_DIGITS = re.compile(r"(\d+)")


def write_report(folder: Path, run: Mapping[str, Any], inputs: Path | None = None) -> Path:
    """Write report.html into an output folder: made of run.json and of what lies beside it.

    Scores are known of images that have a table there; overlays and other files are linked. Images
    that are too large for their overlay get a zoomable page (see ``write_zoom``).

    Args:
        folder: of the outputs.
        run: what run.json holds.
        inputs: folder of the images; by default the one that run.json names for the run of each.
            Where images are gone or others, the report is made of the label images alone, and says
            so.

    Returns:
        The path of the report. The same files give the same report.

    Raises:
        OSError: the folder can't be written to, or is full.
    """
    records = run["images"]
    limits = budget(sum(record["status"] == "done" for record in records))
    entries = [
        gather(record, folder, inputs or _input(record, run), _stack(record, run), limits)
        for record in records
    ]
    done = [entry for entry in entries if entry.is_done]
    if done and all(math.isfinite(entry.pixel_area) for entry in done):
        entries = [
            replace(entry, areas=entry.areas * np.float32(entry.pixel_area), unit="µm²")
            for entry in entries
        ]
    images = _sorted(entries)
    path = folder / REPORT_FILE
    page = fill("report.html", "report.css", ["report.js"], _parts(folder, run, images))
    with atomic_write(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _input(record: Mapping[str, Any], run: Mapping[str, Any]) -> Path | None:
    """The folder of an image, by the run that made it."""
    folder = _of_its_run(record, run).get("input")
    return Path(folder) if folder else None


def _stack(record: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """By what an image was opened; earlier versions told it of the last run alone."""
    return str(_of_its_run(record, run).get("stack", run.get("stack", "refuse")))


def _of_its_run(record: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    return dict(run.get("runs", {}).get(record.get("run"), {}))


def _sorted(entries: Sequence[Entry]) -> list[Shown]:
    """The most suspicious first, alike ones by name, as people count (2 before 10)."""

    def order(image: Shown) -> tuple[float, list[str | int]]:
        parts = _DIGITS.split(image.entry.name)  # text and digits in turn
        return -image.suspicion, [int(p) if k % 2 else p for k, p in enumerate(parts)]

    pairs = zip(entries, judge(entries), strict=True)
    images = sorted((Shown(0, entry, reasons) for entry, reasons in pairs), key=order)
    return [image._replace(number=number) for number, image in enumerate(images)]


def _parts(folder: Path, run: Mapping[str, Any], images: Sequence[Shown]) -> dict[str, str]:
    """What the page's frame wants."""
    done = [image.entry for image in images if image.entry.is_done]
    unit = done[0].unit if done else ""
    plots = (
        histogram(
            np.array([entry.count for entry in done], float), "Cells in an image", "", "whole"
        ),
        histogram(_all(done, "areas"), "Areas of cells", unit, "log"),
        histogram(_all(done, "scores"), "Scores of cells"),
    )
    scores = _all(done, "scores")
    scores = scores[np.isfinite(scores)]
    cite = citation()
    return {
        "folder": text(folder.resolve().name),
        "about": text(_about(run)),
        "done": f"{len(done):,}",
        "total": f"{len(images):,}",
        "cells": f"{sum(entry.count for entry in done):,}",
        "suspicious": f"{sum(image.to_look_at for image in images):,}",
        "warned": f"{sum(bool(image.entry.warnings) for image in images):,}",
        "failed": f"{len(images) - len(done):,}",
        "gone": _gone(done),
        "failures": failures(images),
        "plots": "".join(plots),
        "sheet": sheet(images),
        "table": table(images, unit),
        "lowest": f"{math.floor(10 * float(scores.min())) / 10:.1f}" if len(scores) else "",
        "settings": settings(run),
        "cite": f"<pre>{html.escape(cite)}</pre>" if cite else "<p>See CITATION.cff.</p>",
    }


def _all(entries: Sequence[Entry], name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.concatenate([np.zeros(0, np.float32), *(getattr(e, name) for e in entries)])


def _about(run: Mapping[str, Any]) -> str:
    """When and with what, in a line."""
    started = sorted(str(each.get("started", "")) for each in run.get("runs", {}).values())
    when = [started[0].replace("T", " ").removesuffix("Z") + " UTC"] if any(started) else []
    return " · ".join([*when, f"vsm {run.get('version', 'of an unknown version')}"])


def _gone(done: Sequence[Entry]) -> str:
    """Says it at once if there is something that the report could not see."""
    lacking = sum(bool(entry.remarks) for entry in done)
    if not lacking:
        return ""
    first = next(remark for entry in done for remark in entry.remarks)
    some = "1 image" if lacking == 1 else f"{lacking:,} images"
    return (
        f'<p class="gone">Of {some} something is missing, which is said below each. '
        f"The first: {text(first)}.</p>"
    )
