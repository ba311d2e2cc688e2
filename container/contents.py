"""What the image holds, as a bill of materials in CycloneDX 1.6.

Its packages of Debian and Python and its weights, with versions, licences and hashes. Runs inside
the image, on the standard library alone:

    docker run --rm -i --network none vsm python - < container/contents.py > sbom.json

The libraries that a Python package bundles (OpenBLAS, FFmpeg, image codecs) are listed within it as
files: their versions are in the names alone. Whole licence texts lie in the image, in *.dist-info
and /usr/share/doc/*/copyright.
"""

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

Component = dict[str, Any]

WEIGHTS = Path("weights")
DOCUMENTS = Path("/usr/share/doc")


def main() -> None:
    components = [*python_packages(), *debian_packages(), *weights()]
    materials = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "vsm", "bom-ref": "vsm"}},
        "components": components,
        "dependencies": [{"ref": "vsm", "dependsOn": [each["bom-ref"] for each in components]}],
    }
    print(json.dumps(materials, indent=1))


def python_packages() -> list[Component]:
    """The distributions that Python finds, by name."""
    found = sorted(distributions(), key=lambda package: package.name.lower())
    return [
        component("library", f"pkg:pypi/{package.name.lower()}@{package.version}")
        | {"name": package.name, "version": package.version, "licenses": [licence(package)]}
        | {"components": list(bundled(package))}
        for package in found
    ]


def bundled(package: Distribution) -> Iterator[Component]:
    """The libraries that the builder of a wheel has put beside its package."""
    for path in package.files or []:
        if path.parts[0].endswith(".libs"):
            content = hashlib.sha256(path.read_binary()).hexdigest()
            yield component("file", str(path)) | {
                "name": path.name,
                "hashes": [{"alg": "SHA-256", "content": content}],
            }


def licence(package: Distribution) -> dict[str, Any]:
    """What a package says of its licence: as an SPDX expression, or in its own words."""
    told = package.metadata
    if "License-Expression" in told:
        return {"expression": told["License-Expression"]}
    classes = [text for text in told.get_all("Classifier") or [] if text.startswith("License")]
    words = told["License"] or "".join(classes[:1]).rpartition(":: ")[2] or "not stated"
    return {"license": {"name": words.splitlines()[0]}}


def debian_packages() -> list[Component]:
    """The packages of the distribution, with the names of the licences in their copyright files."""
    system = platform.freedesktop_os_release()
    line = "${Package}\t${Version}\t${Architecture}\n"
    listed = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={line}"], capture_output=True, text=True, check=True
    )
    components = []
    for name, version, architecture in (row.split("\t") for row in listed.stdout.splitlines()):
        # Allowed in versions, but something else in an address.
        address = f"pkg:deb/{system['ID']}/{name}@{version}".replace("+", "%2B")
        address += f"?arch={architecture}&distro={system['ID']}-{system['VERSION_ID']}"
        licences = [{"license": {"name": text}} for text in copyright_names(name)]
        components.append(
            component("library", address) | {"name": name, "version": version, "licenses": licences}
        )
    return components


def copyright_names(package: str) -> list[str]:
    """The short names of licences in the copyright file of a Debian package, where it has them."""
    path = DOCUMENTS / package / "copyright"
    text = path.read_text(errors="replace") if path.is_file() else ""
    return sorted({name.strip() for name in re.findall(r"^License: *(\S.*)$", text, re.MULTILINE)})


def weights() -> list[Component]:
    """The graphs, by the hashes that are checked at each start."""
    settings = json.loads((WEIGHTS / "settings.json").read_text())
    return [
        component("machine-learning-model", graph["file"])
        | {
            "name": graph["file"],
            "description": graph["trained"],
            "hashes": [{"alg": "SHA-256", "content": graph["sha256"]}],
        }
        for role in ("detector", "segmenter")
        for graph in settings[role].values()
    ]


def component(kind: str, reference: str) -> Component:
    """The start of a component; only packages have an address."""
    address = {"purl": reference} if reference.startswith("pkg:") else {}
    return {"type": kind, "bom-ref": reference, **address}


if __name__ == "__main__":
    main()
