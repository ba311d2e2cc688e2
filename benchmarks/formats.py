"""What becomes of every kind of image file: one run of ``python -m app`` over all of them.

    python -m benchmarks.formats [--markdown] [--hostile]

Prints a line for each file: its name, what became of it, what was said. The toy weights of the
tests are used, for it is the reading that is looked at.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.app.hostile_images import hostile
from tests.app.image_kinds import kinds

ROOT = Path(__file__).parent.parent
TOY = ROOT / "tests" / "toy_weights"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--markdown", action="store_true", help="a table for a page")
    parser.add_argument("--hostile", action="store_true", help="files made to do harm, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "in", Path(name) / "out"
        source.mkdir()
        files = {kind.name: kind.data for kind in kinds()}
        if options.hostile:
            files |= {bad.name: bad.data for bad in hostile()}
        for file_name, data in files.items():
            (source / file_name).write_bytes(data)
        command = [sys.executable, "-m", "app", str(source), str(target)]
        command += ["--weights", str(TOY), "--device", "cpu"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
        try:
            report = json.loads((target / "run.json").read_text())
        except OSError:
            sys.exit(f"no run.json; exit status {done.returncode}\n{done.stderr}")
    rows = [("file", "status", "message")]
    for record in report["images"]:
        said = [*record.get("warnings", []), *([record["error"]] if "error" in record else [])]
        text = "; ".join(said).replace(f"{source}/{record['image']}: ", "")
        rows.append((record["image"], record["status"], text))
    if options.markdown:
        rows.insert(1, ("---", "---", "---"))
        print("\n".join(f"| {' | '.join(cells)} |" for cells in rows))
    else:
        print("\n".join(f"{file:34} {status:7} {text}" for file, status, text in rows))
    print(f"\n{report['done']} done, {report['failed']} refused; exit status {done.returncode}")


if __name__ == "__main__":
    main()
