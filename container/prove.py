"""The image, built and run for real: as both its callers run it, and as a careful host does.

    python -m container.prove [--base cpu] [--out runs/container]
    python -m container.prove --short

It builds the image and runs it on samples, with folders of several users and fewer and fewer
rights (container/cases.py); checks the exit status, what is said, whose the files are, and the
names, dtypes, ids and F1 of the label images; stops it halfway; lists what it holds; saves it as
TEAM.tar.gz, loads that again, and starts one container an image, timed, as the challenge's
organisers do. It prints tables, and leaves sbom.json (CycloneDX), LICENCES.md, the times and
TEAM.tar.gz in --out.

--short builds, and runs a few of the cases. Where this machine can't even try, it says why, and
ends with status 0.

The engine is the one that answers, or else a private one (container/engine.py), which takes root,
Debian's packages, and 4 GB in the folder of temporary files. On an engine of yours the images vsm
and team are left.

Exit status: 0 all is as it should be; 1 something is not, and is named; 2 it could not be tried.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from app.version import __version__, commit
from container.cases import MOUNTS, ORGANISERS, OTHERS, USERS, WORKSPACE, Case
from container.engine import (
    UnavailableError,
    base_image,
    last_line,
    private_folder,
    running_engine,
)
from container.image import BuildError, build, inspect, licences, list_contents, megabytes, pinned
from container.organisers import organisers_loop, save_team
from container.proof import IMAGES, TAG, Proof, print_head, print_row
from container.run import run_cases
from container.stop import stop_halfway

LICENCES = Path("LICENCES.md")
MAX_MEGABYTES = 700  # of the image for the CPU
# What only builds or tests, or lets things be installed.
UNWANTED = {"torch", "pip", "setuptools", "pytest", "gcc", "g++", "make", "git", "build-essential"}
STOPPED = Case("docker stop halfway", MOUNTS, images=IMAGES, owner=12345, files=12345)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/container"))
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    # Like Ctrl-C: what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    try:
        with private_folder() as folder, running_engine(folder) as engine:
            proof = Proof(engine, folder)
            try:
                prove(proof, options)
            finally:
                engine("rm", "--force", proof.mark)  # if it was interrupted
    except UnavailableError as error:
        print(f"container: {'skipped' if options.short else 'not tried'}: {error}")
        return 0 if options.short else 2
    except BuildError as error:
        print(f"container: WRONG: the build failed:\n{error}")
        return 1
    print()
    for what in proof.skipped:
        print(f"container: skipped: {what}")
    for fault in proof.faults:
        print(f"container: WRONG: {fault}")
    verdict = "not as it should be" if proof.faults else "all as it should be"
    print(f"container: {verdict}; {time.monotonic() - started:.0f} s in all")
    return int(bool(proof.faults))


def prove(proof: Proof, options: argparse.Namespace) -> None:
    """Build and try everything, and print the tables."""
    engine, out = proof.engine, options.out
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    published = pinned(options.base)
    base = base_image(engine, published, proof.folder)
    require_index(proof.folder)
    based = time.monotonic()
    build(engine, TAG, options.base if base == published else base, proof.folder, proof.mark)
    built = time.monotonic()
    user = inspect(engine, TAG, "{{.Config.User}}")
    labels = json.loads(inspect(engine, TAG, "{{json .Config.Labels}}")).values()
    print_head("image", "")
    print_row("engine", f"Docker {engine.version()}")
    print_row("base", f"{base}, {megabytes(engine, base):.0f} MB, {based - started:.0f} s")
    print_row("built", f"in {built - based:.0f} s")
    print_row("size", f"{megabytes(engine, TAG):.0f} MB")
    parts = engine("run", "--rm", TAG, "du", "-s", "-B1000000", "/opt/venv", "/workspace/weights")
    print_row("of these, MB", ", ".join(" ".join(row.split()) for row in parts.stdout.splitlines()))
    print_row("labels", ", ".join(labels))
    told = engine("run", "--rm", TAG, "sh", "predict.sh", "--version").stdout
    print_row("--version", *told.splitlines()[:1])
    proof.check(__version__ in told and (commit() or "unknown") in told, f"--version is {told!r}")
    proof.check(not user, f"it runs as user {user!r}")
    small = megabytes(engine, TAG) < MAX_MEGABYTES or options.base == "cuda"
    proof.check(small, f"the image is larger than {MAX_MEGABYTES} MB")
    check_contents(proof, out)
    if options.short:
        run_cases(proof, tuple(case for case in USERS if case.short))
        return
    run_cases(proof, USERS)
    run_cases(proof, OTHERS)
    stop_halfway(proof, STOPPED)
    what = f"{STOPPED.what}, by bash -c"
    stop_halfway(proof, replace(STOPPED, what=what, options=WORKSPACE, command=ORGANISERS))
    save_team(proof, out / "TEAM.tar.gz")
    organisers_loop(proof, out / "team_running_time.csv")


def require_index(folder: Path) -> None:
    """See that pip reaches an index here, as else a build would fail for no fault of ours.

    Raises:
        UnavailableError: it doesn't.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "tqdm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"pip reaches no index: {last_line(done.stderr)}")


def check_contents(proof: Proof, out: Path) -> None:
    """Write what the image holds, see that it is what it should be, print a row."""
    components = list_contents(proof.engine, TAG, out / "sbom.json")
    unwanted = sorted({each["name"] for each in components} & UNWANTED)
    proof.check(not unwanted, f"the image holds {', '.join(unwanted)}")
    python, debian = (
        [each for each in components if each["bom-ref"].startswith(f"pkg:{kind}/")]
        for kind in ("pypi", "deb")
    )
    graphs = sum(each["type"] == "machine-learning-model" for each in components)
    ours, found = LICENCES.read_text(), licences(python, LICENCES.read_text())
    (out / LICENCES.name).write_text(found)
    proof.check(ours == found, f"{LICENCES} is of other packages; copy {out / LICENCES.name}")
    print_row("holds", f"{len(python)} Python packages, {len(debian)} of Debian's, {graphs} graphs")


if __name__ == "__main__":
    sys.exit(main())
