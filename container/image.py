"""Build the image, list what it holds, save it: by the docker commands that a user would type."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from app.version import __version__, commit
from container.engine import Engine

_CONTENTS = Path("container/contents.py")
_CHUNK = 2**24  # bytes


def pinned(stage: str) -> str:
    """The published image, with its digest, that a stage of the Dockerfile is."""
    found = re.search(rf"^FROM (\S+@sha256:\S+) AS {stage}$", Path("Dockerfile").read_text(), re.M)
    if found is None:
        raise ValueError(f"Dockerfile: no image with a digest is the stage {stage}")
    return found[1]


class BuildError(RuntimeError):
    """The build has failed; holds the end of what it says."""


def build(engine: Engine, tag: str, base: str, folder: Path, mark: str, *more: str) -> None:
    """Build the image, with this machine's own pip settings and certificates as build secrets.

    Args:
        engine: builds it.
        tag: to give it.
        base: the stage of the Dockerfile, or the image, to build on.
        folder: for the secrets.
        mark: to write into each secret.
        more: options of docker build.

    Raises:
        BuildError: it fails.
    """
    arguments = {"BASE_IMAGE": base, "VERSION": __version__, "REVISION": commit() or ""}
    command = ["build", "--progress", "plain", "--tag", tag, *more]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        command += ["--build-arg", name] if name in os.environ else []
    for name, text in {"pipconf": pip_settings(), "ca": certificates()}.items():
        (folder / name).write_text(f"{text}\n# {mark}\n")
        command += ["--secret", f"id={name},src={folder / name}"] if text else []
    if engine("network", "inspect", "bridge").returncode:
        command += ["--network", "host"]
    done = engine(*command, ".")
    if done.returncode:
        raise BuildError("\n".join(done.stderr.splitlines()[-30:]))


def pip_settings() -> str:
    """Which index pip uses on this machine, and how it gets there; not its folders."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    wanted = r"\.(index-url|extra-index-url|trusted-host|proxy|timeout)='(.*)'"
    found = [(name, value) for name, value in re.findall(wanted, listed) if "file:" not in value]
    return "\n".join(["[global]", *(f"{name} = {value}" for name, value in found)])


def certificates() -> str:
    """The certificates that pip trusts on this machine, where it has been told of any."""
    paths = [os.environ[name] for name in ("PIP_CERT", "SSL_CERT_FILE") if name in os.environ]
    return Path(paths[0]).read_text() if paths else ""


def inspect(engine: Engine, tag: str, form: str) -> str:
    """What the engine knows of an image."""
    return engine("image", "inspect", "--format", form, tag).stdout.strip()


def megabytes(engine: Engine, tag: str) -> float:
    """Size of an image, unpacked."""
    return int(inspect(engine, tag, "{{.Size}}")) / 1e6


def list_contents(engine: Engine, tag: str, path: Path) -> list[dict[str, Any]]:
    """Write the bill of materials of an image (container/contents.py); returns its components."""
    run = ("run", "--rm", "--interactive", "--network", "none", tag, "python", "-")
    path.write_text(engine(*run, given=_CONTENTS.read_text()).stdout)
    components: list[dict[str, Any]] = json.loads(path.read_text())["components"]
    return components


def licences(components: list[dict[str, Any]], text: str) -> str:
    """A text with the rows of its table replaced by these components and their licences."""
    rows = ""
    for each in components:
        licence = each["licenses"][0]
        name = licence.get("expression") or licence["license"]["name"]
        rows += f"| {each['name']} | {each['version']} | {name} |\n"
    return re.sub(r"(\| --- .*\n)(\|.*\n)*", lambda match: match[1] + rows, text)


def save(engine: Engine, tag: str, path: Path, mark: str) -> bool:
    """Save an image as the challenge asks: ``docker save TAG | gzip``.

    Returns:
        Whether a mark is found anywhere in it.
    """
    found, before = False, b""
    command = [engine.client, "save", tag]
    with (
        subprocess.Popen(command, env=engine.environment, stdout=subprocess.PIPE) as process,
        gzip.open(path, "wb", compresslevel=6) as packed,
    ):
        assert process.stdout is not None
        while part := process.stdout.read(_CHUNK):
            found |= mark.encode() in before + part
            before = part[-len(mark) :]
            packed.write(part)
    return found
