"""The parts of the report's page that have something of each image."""

import base64
import math
from collections.abc import Sequence
from typing import NamedTuple

from .gather import Entry
from .pictures import Picture
from .suspicion import TO_LOOK_AT, Reason
from .text import quote, short, text

_FEW = 3  # reasons that are told under a picture in the sheet
_DENSE = 400  # outlines of a small picture that must be thin, lest they hide it
_ALL = 1e9  # more suspicious than any image: one that failed


class Shown(NamedTuple):
    """An image and its place in the report."""

    number: int
    entry: Entry
    reasons: list[Reason]

    @property
    def suspicion(self) -> float:
        return sum(reason.weight for reason in self.reasons) if self.entry.is_done else _ALL

    @property
    def to_look_at(self) -> bool:
        return self.entry.is_done and self.suspicion >= TO_LOOK_AT


def failures(images: Sequence[Shown]) -> str:
    """What failed and why; "" if nothing did."""
    failed = [image.entry for image in images if not image.entry.is_done]
    items = "".join(f"<li>{_name(entry)}<p>{text(entry.error)}</p></li>" for entry in failed)
    if not failed:
        return ""
    return (
        '<section class="failures" aria-labelledby="failures"><h2 id="failures">Failed</h2>'
        f"<ul>{items}</ul></section>"
    )


def sheet(images: Sequence[Shown]) -> str:
    """A card for each image that was segmented."""
    return "".join(_card(image) for image in images if image.entry.is_done)


def _card(image: Shown) -> str:
    entry = image.entry
    reasons = [f"<li>{text(reason.text)}</li>" for reason in image.reasons]
    more = len(reasons) - _FEW
    facts = _facts(entry)
    return (
        f'<li class="card{" suspicious" if image.to_look_at else ""}" data-image="{image.number}" '
        f'data-cells="{entry.count}">'
        f"{_drawing(entry.picture, entry, image.number)}"
        f'<div class="about"><h3>{_name(entry)}</h3><p class="facts">{text(" · ".join(facts))}</p>'
        f'<ul class="why">{"".join(reasons)}</ul>'
        + (f'<p class="rest">and {more} more</p>' if more > 0 else "")
        + "".join(f'<p class="remark">{text(remark)}</p>' for remark in entry.remarks)
        + f'<p class="files">{_files(entry)}</p></div></li>'
    )


def _facts(entry: Entry) -> list[str]:
    facts = ["1 cell" if entry.count == 1 else f"{entry.count:,} cells"]
    if entry.planes > 1:
        facts[0] += f" in {entry.planes:,} planes"
    if math.isfinite(entry.median_area):
        facts.append(f"median {short(entry.median_area)} {entry.unit}")
    if math.isfinite(entry.median_score):
        facts.append(f"score {entry.median_score:.2f}")
    return facts


def _drawing(picture: Picture | None, entry: Entry, number: int) -> str:
    """The picture with its outlines, as a button that enlarges it."""
    if picture is None:
        return '<div class="picture none">no picture</div>'
    height, width = picture.size
    dense = ' class="dense"' if len(picture.labels) > _DENSE else ""
    data = base64.b64encode(picture.webp).decode()
    lines = ""
    if picture.path:
        # Drawn twice, so that lines are seen on bright ground and on dark.
        scores = " ".join(
            "" if math.isnan(score) else str(round(100 * score)) for score in entry.shown_scores
        )
        lines = (
            f'<use href="#o{number}" class="halo"/><path id="o{number}" class="lines" '
            f'data-labels="{" ".join(map(str, picture.labels))}" data-scores="{scores}" '
            f'd="{picture.path}"/>'
        )
    return (
        f'<button type="button" class="picture" aria-label="Enlarge {text(entry.name)}">'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true"{dense}>'
        f'<image width="{width}" height="{height}" preserveAspectRatio="none" '
        f'href="data:image/webp;base64,{data}"/>{lines}</svg></button>'
    )


def _files(entry: Entry) -> str:
    links = [f'<a href="{quote(path)}">{text(what)}</a>' for what, path in entry.links.items()]
    return " ".join(links)


def _name(entry: Entry) -> str:
    return f"<bdi>{text(entry.name)}</bdi>"


def table(images: Sequence[Shown], unit: str) -> str:
    """The table's head and body; rows are in the order of the images.

    Args:
        images: all of them.
        unit: of areas.
    """
    headings = {
        "name": "Image",
        "cells": "Cells",
        "area": f"Median area, {unit}",
        "score": "Median score",
        "edge": "At the edge",
        "size": "Size, px",
        "seconds": "Seconds",
        "suspicion": "Why to look at it",
    }
    head = "".join(
        f'<th scope="col" data-key="{key}"><button type="button">{text(heading)}</button></th>'
        for key, heading in headings.items()
    )
    rows = "".join(map(_row, images))
    return f'<thead><tr>{head}<th scope="col">Files</th></tr></thead><tbody>{rows}</tbody>'


def _row(image: Shown) -> str:
    entry = image.entry
    height, width = entry.shape or (0, 0)
    share = entry.at_edge / entry.count if entry.count and len(entry.areas) else math.nan
    name = _name(entry)
    if entry.picture:
        name = f'<button type="button" class="enlarge">{name}</button>'
    reasons = [reason.text for reason in image.reasons] if entry.is_done else [entry.error]
    kinds = {
        "failed": not entry.is_done,
        "warned": bool(entry.warnings),
        "suspicious": image.to_look_at,
    }
    named = " ".join(kind for kind, holds in kinds.items() if holds)
    cells = [
        f'<th scope="row" data-value="{text(entry.name)}">{name}</th>',
        _cell(entry.count if entry.is_done else math.nan, f"{entry.count:,}"),
        _cell(entry.median_area, short(entry.median_area)),
        _cell(entry.median_score, f"{entry.median_score:.2f}"),
        _cell(share, f"{share:.0%}"),
        _cell(height * width or math.nan, f"{width:,} &times; {height:,}"),
        _cell(entry.seconds, f"{entry.seconds:.1f}"),
        f'<td class="why" data-value="{image.suspicion:.4g}">{text("; ".join(reasons))}</td>',
        f'<td class="files">{_files(entry)}</td>',
    ]
    return f'<tr data-image="{image.number}" data-kinds="{named}">{"".join(cells)}</tr>'


def _cell(value: float, shown: str) -> str:
    """A cell with a number, by which it is sorted; an empty one where that isn't known."""
    if math.isnan(value):
        return '<td data-value=""></td>'
    return f'<td data-value="{value:.6g}">{shown}</td>'
