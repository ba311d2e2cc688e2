"""Text and pages that hold nothing but what they are to hold, whatever a file is called."""

import base64
import hashlib
import html
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

_HERE = Path(__file__).parent
# What the pages may load: nothing but themselves. Pictures of the zoomable page lie beside it.
_POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src {images}; "
    "base-uri 'none'; form-action 'none'"
)


def text(value: str) -> str:
    """A name or a message, as text of HTML or the value of an attribute.

    Characters that can't be seen, or change the direction of writing, are shown as escapes.
    """
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in value)
    return html.escape(shown)


def short(value: float) -> str:
    """A number with three digits at most, but whole hundreds and thousands as such."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def quote(path: str) -> str:
    """The path of a file beside the page, as a link."""
    # A name with a colon is no address, for that is quoted, too.
    return urllib.parse.quote(path, safe="/", errors="surrogateescape")


def asset(name: str) -> str:
    """A file of this package."""
    return (_HERE / name).read_text(encoding="utf-8")


def fill(template: str, style: str, scripts: Sequence[str], values: Mapping[str, str]) -> str:
    """A page.

    Args:
        template: name of the file with its frame.
        style: of the file with its style.
        scripts: of the files with its scripts.
        values: for the frame, HTML.
    """
    styles, script = asset(style), "\n".join(map(asset, scripts))
    images = "data:" if template == "report.html" else "'self' file: data:"
    policy = _POLICY.format(script=_hash(script), style=_hash(styles), images=images)
    parts = {"policy": policy, "style": styles, "script": script}
    return Template(asset(template)).substitute(values, **parts)


def _hash(source: str) -> str:
    """Allows this very text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
