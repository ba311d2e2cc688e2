"""The image, built and run for real: as both its callers run it, and as a careful host does.

    python -m container.prove [--base debian:12-slim] [--out runs/container]
    python -m container.prove --short

It builds the image and runs it on the samples; checks the exit status, what is said, and the names,
dtypes, ids and F1 of the label images; stops it halfway; lists what it holds; saves it as
TEAM.tar.gz, loads that again, and starts one container an image, timed, as the challenge's
organisers do (baseline/cellseg_time_eval.py of JunMa11/NeurIPS-CellSeg). It prints tables, and
leaves sbom.json (CycloneDX), LICENCES.md, the times and TEAM.tar.gz in --out.

--short builds, and runs once hardened and once refused. Where this machine can't even try, it says
why, and ends with status 0.

The engine is the one that answers, or else a private one (container/engine.py), which takes root,
Debian's packages, and 4 GB in the folder of temporary files. On an engine of yours the images vsm
and team are left. TEAM differs from vsm in running as root: the organisers' command names no user,
and which one their output folder belongs to can't be known here.

Exit status: 0 all is as it should be; 1 something is not, and is named; 2 it could not be tried.
"""

import argparse
import csv
import json
import os
import secrets
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile

from app.files.labels import output_path
from app.files.open import find_images
from app.running.journal import DONE, RUN_FILE, STARTED, read_records
from app.session import candidates
from app.settings import WEIGHTS, graph_path, load_settings
from container.engine import (
    Engine,
    UnavailableError,
    base_image,
    last_line,
    private_folder,
    running_engine,
)
from container.image import BuildError, build, inspect, licences, list_contents, megabytes, save
from tests.app.test_samples import EACH_FLOOR, MEAN_FLOOR, SAMPLES
from training.evaluate import score_image

IMAGES = find_images(SAMPLES / "images")
LICENCES = Path("LICENCES.md")
MAX_MEGABYTES = 700  # of the image for the CPU
STOP_WITHIN = 2  # seconds
PATIENCE = 300  # seconds for two images
PAPER = 6.97  # seconds that the paper's system takes for any image, on its GPU
# What only builds or tests, or lets things be installed.
UNWANTED = {"torch", "pip", "setuptools", "pytest", "gcc", "g++", "make", "git", "build-essential"}

# The detector's graph that this CPU runs.
GRAPH = graph_path(WEIGHTS, load_settings(WEIGHTS).detector, candidates("cpu")[0]).name
MOUNTS = "-v {samples}:/inputs:ro -v {outputs}:/outputs"
HARDENED = (
    "--network none --read-only --tmpfs /tmp:rw,size=64m --memory 2g --cpus 1 "
    "--cap-drop ALL --security-opt no-new-privileges --user 12345:12345"
)
ORGANISERS = (
    'docker container run --gpus "device=0" -m 28g --rm -v $PWD/inputs/:/workspace/inputs/ '
    '-v $PWD/outputs/:/workspace/outputs/ team:latest /bin/bash -c "sh predict.sh"'
)
COLUMNS = ("Img Name", "Real Running Time", "Rank Running Time")  # the organisers' own


@dataclass(frozen=True)
class Case:
    """A way to run the image, and what has to come of it."""

    what: str
    options: str = MOUNTS
    """Of docker run; {samples}, {outputs} and {file} are filled in."""
    command: str = ""
    status: int = 0
    says: str = f"segmenting {len(IMAGES)} images on"
    """In the last line that it says."""
    lines: int | None = 1
    """That it says; None if that doesn't matter."""
    mode: int = 0o777
    """Of the output folder, which belongs to the user of this script."""


HARDENED_CASE = Case("read-only, no network, no rights, 2 GB, user 12345", f"{HARDENED} {MOUNTS}")
FOREIGN_CASE = Case(
    "the same, output folder of another user",
    f"{HARDENED} {MOUNTS}",
    status=2,
    says=f"/outputs: user 12345 can't write to this folder of user {os.getuid()} (Permission",
    mode=0o755,
)
CASES = (
    Case("/inputs and /outputs"),
    Case(
        "/workspace/inputs and /workspace/outputs",
        "-v {samples}:/workspace/inputs:ro -v {outputs}:/workspace/outputs",
        '/bin/bash -c "sh predict.sh"',
    ),
    Case("as root, who may write anywhere", f"--user 0 {MOUNTS}"),
    HARDENED_CASE,
    FOREIGN_CASE,
    Case(
        "output folder mounted read-only",
        f"{MOUNTS}:ro",
        status=2,
        says="/outputs: user 1000 can't write to this folder of user",
    ),
    Case(
        "input folder without an image",
        "-v {outputs}:/inputs:ro -v {outputs}:/outputs",
        status=2,
        says="/inputs: no image in this folder",
    ),
    Case(
        "weights that the settings don't name",
        MOUNTS + f" -v {{file}}:/workspace/weights/{GRAPH}:ro",
        status=2,
        says=f"weights/{GRAPH}: its SHA-256 is",
    ),
    Case(
        "--device cuda where there is none",
        command="sh predict.sh --device cuda",
        status=2,
        says="--device cuda: ONNX Runtime could not start CUDA",
        lines=None,  # ONNX Runtime itself says which library it misses
    ),
)


@dataclass
class Proof:
    """What all of this works with, and what was found wrong."""

    engine: Engine
    folder: Path
    """Private: for inputs and outputs."""
    mark: str = field(default_factory=lambda: secrets.token_hex(16))
    """Stands in each build secret and must not stand in the image; names the containers, too."""
    faults: list[str] = field(default_factory=list)

    def check(self, good: bool, fault: str) -> None:
        if not good:
            self.faults.append(fault)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="debian:12-slim")
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
    base = base_image(engine, options.base, proof.folder)
    require_index(proof.folder)
    based = time.monotonic()
    build(engine, "vsm", base, proof.folder, proof.mark)
    built = time.monotonic()
    user = inspect(engine, "vsm", "{{.Config.User}}")
    labels = json.loads(inspect(engine, "vsm", "{{json .Config.Labels}}")).values()
    print("| image | |\n| --- | --- |")
    print(f"| engine | Docker {engine.version()} |")
    print(f"| base | {base}, {megabytes(engine, base):.0f} MB, there in {based - started:.0f} s |")
    print(f"| built | in {built - based:.0f} s |")
    print(f"| size | {megabytes(engine, 'vsm'):.0f} MB |")
    print(f"| user | {user} |")
    print(f"| labels | {', '.join(labels)} |")
    proof.check(user == "1000:1000", f"it runs as user {user!r}")
    small = megabytes(engine, "vsm") < MAX_MEGABYTES or "cuda" in base
    proof.check(small, f"the image is larger than {MAX_MEGABYTES} MB")
    check_contents(proof, out)
    print("\n| run | status | seconds | mean F1 | last line |\n| --- | --- | --- | --- | --- |")
    for case in (HARDENED_CASE, FOREIGN_CASE) if options.short else CASES:
        run_case(proof, case)
    if not options.short:
        stop_halfway(proof, "docker stop halfway", MOUNTS, "")
        both = CASES[1]
        stop_halfway(proof, "docker stop halfway, by bash -c", both.options, both.command)
        save_team(proof, base, out / "TEAM.tar.gz")
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
    components = list_contents(proof.engine, "vsm", out / "sbom.json")
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
    print(f"| holds | {len(python)} Python packages, {len(debian)} of Debian's, {graphs} graphs |")


def run_case(proof: Proof, case: Case, *, anew: bool = True) -> None:
    """Run the image as a case says, check what comes of it, print a row.

    Args:
        proof: takes what is wrong.
        case: what to run.
        anew: with an empty output folder, not that of the last run.
    """
    outputs = output_folder(proof, case.mode) if anew else proof.folder / "outputs"
    started = time.monotonic()
    done = proof.engine(*docker_run(proof, case.options, case.command))
    seconds = time.monotonic() - started
    changed = {line[2:] for line in proof.engine("diff", proof.mark).stdout.splitlines()}
    proof.engine("rm", proof.mark)
    # The client of a private engine, which forwards nothing, warns of that; and an image that isn't
    # shown in the usual way has a line.
    lines = [
        line
        for line in done.stderr.splitlines()
        if "IPv4 forwarding" not in line and ": shown " not in line
    ]
    last = last_line("\n".join(lines))
    scores = [] if case.status else judge(proof, case.what, outputs)
    left = list(outputs.iterdir()) if case.status else []
    for good, fault in (
        (done.returncode == case.status, f"exit status {done.returncode}"),
        (case.says in last, f"'{case.says}' is not said last"),
        (case.lines in (len(lines), None), f"{len(lines)} lines are said"),
        (changed <= {"/inputs", "/workspace", "/workspace/inputs"}, f"{changed} have changed"),
        (not left, f"{left} were left"),
    ):
        proof.check(good, f"{case.what}: {fault}")
    print_row(case.what, done.returncode, seconds, scores, last)


def docker_run(proof: Proof, options: str, command: str, *more: str) -> list[str]:
    """Arguments for docker to run the image, under the name of the mark."""
    samples = SAMPLES.resolve()
    places = {"samples": samples / "images", "file": samples / "README.md"}
    places["outputs"] = proof.folder / "outputs"
    filled = [part.format(**places) for part in shlex.split(options)]
    return ["run", *more, "--name", proof.mark, *filled, "vsm", *shlex.split(command)]


def output_folder(proof: Proof, mode: int = 0o777) -> Path:
    """An empty folder to mount as the output."""
    path = proof.folder / "outputs"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    path.chmod(mode)
    return path


def judge(proof: Proof, what: str, outputs: Path) -> list[float]:
    """Check the label images of the samples; returns the F1 of each."""
    names = {output_path(image, outputs).name for image in IMAGES}
    there = {path.name for path in outputs.iterdir()} - {RUN_FILE}
    proof.check(there == names, f"{what}: missing or too much: {sorted(there ^ names)}")
    scores = []
    for name in sorted(there & names):
        truth, label = (tifffile.imread(folder / name) for folder in (SAMPLES / "labels", outputs))
        whole = np.array_equal(np.unique(label), np.arange(label.max() + 1))
        good = whole and label.dtype == np.uint16 and label.shape == truth.shape
        proof.check(good, f"{what}: {name} is {label.dtype} {label.shape}, ids whole: {whole}")
        scores.append(score_image(truth, label)[0].f1)
    good = min(scores, default=0) >= EACH_FLOOR and statistics.fmean(scores) >= MEAN_FLOOR
    proof.check(good, f"{what}: F1 is {scores}")
    return scores


def print_row(what: str, status: int, seconds: float, scores: list[float], line: str) -> None:
    f1 = f"{statistics.fmean(scores):.3f}" if scores else ""
    print(f"| {what} | {status} | {seconds:.1f} | {f1} | {line} |", flush=True)


def stop_halfway(proof: Proof, what: str, options: str, command: str) -> None:
    """Stop a run within its second image: the first must be kept, and --resume go on from it.

    The run gets so little of a core that an image takes a second.
    """
    outputs = output_folder(proof)
    proof.engine(*docker_run(proof, options, command, "--detach", "--cpus", "0.25"))
    end = time.monotonic() + PATIENCE
    while statuses(outputs) != [DONE, STARTED] and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.1)  # well within it
    started = time.monotonic()
    proof.engine("stop", proof.mark)
    seconds = time.monotonic() - started
    status = int(proof.engine("wait", proof.mark).stdout)
    line = last_line(proof.engine("logs", proof.mark).stderr)
    proof.engine("rm", proof.mark)
    print_row(what, status, seconds, [], line)
    proof.check(status == 130 and "interrupted" in line, f"{what}: status {status}, {line}")
    proof.check(seconds < STOP_WITHIN, f"{what}: it took {seconds:.1f} s")
    left = sorted(path.name for path in outputs.iterdir())
    kept = left == sorted([output_path(IMAGES[0], outputs).name, RUN_FILE])
    proof.check(kept and statuses(outputs) == [DONE], f"{what}: {left} are left")
    resume = f"{what}, then --resume"
    run_case(
        proof,
        Case(resume, options, "sh predict.sh --resume", says="(1 are settled already)"),
        anew=False,
    )


def statuses(outputs: Path) -> list[str]:
    """What a run has written of each image so far, in the order of their names."""
    records = read_records(outputs)
    return [records[name]["status"] for name in sorted(records)]


def save_team(proof: Proof, base: str, path: Path) -> None:
    """Save the image as the challenge wants it, and load it again as the organisers will."""
    build(proof.engine, "team", base, proof.folder, proof.mark, "--build-arg", "RUN_AS=0:0")
    started = time.monotonic()
    found = save(proof.engine, "team", path, proof.mark)
    seconds = time.monotonic() - started
    found |= proof.mark in proof.engine("history", "--no-trunc", "team").stdout
    proof.check(not found, "a build secret is in the image")
    proof.engine("image", "rm", "team")
    loaded = last_line(proof.engine("load", "--input", str(path)).stdout)
    proof.check("team:latest" in loaded, f"{path} can't be loaded: {loaded}")
    print(f"\n{path}: {path.stat().st_size / 1e6:.0f} MB, saved in {seconds:.0f} s. {loaded}.")


def organisers_loop(proof: Proof, path: Path) -> None:
    """One container an image, timed, with the organisers' command, folders and columns."""
    folder = proof.folder / "organisers"
    inputs, outputs, results = (folder / name for name in ("inputs", "outputs", "results"))
    for each in (inputs, outputs, results):
        each.mkdir(parents=True)
    gpu = ["run", "--rm", "--gpus", "device=0", "team", "true"]
    command = ORGANISERS
    if proof.engine(*gpu).returncode:
        command = command.replace('--gpus "device=0" ', "")
    print(f"\n{command}\n\n| {' | '.join(COLUMNS)} | megapixels |\n| --- | --- | --- | --- |")
    rows = []
    for image in IMAGES:
        shutil.copy(image, inputs)
        started = time.time()
        subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=proof.engine.environment,
            capture_output=True,
            check=False,
        )
        real = time.time() - started
        (inputs / image.name).unlink()
        label = output_path(image, outputs)
        if label.exists():  # else it is missed below
            label.rename(results / label.name)
        megapixels = tifffile.imread(SAMPLES / "labels" / label.name).size / 1e6
        rank = max(0, real - 10 * max(1, megapixels))
        rows.append((image.name, real, rank, megapixels))
        print(f"| {image.name} | {real:.2f} | {rank:.2f} | {megapixels:.2f} |", flush=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *(row[:3] for row in rows)])
    f1 = statistics.fmean(judge(proof, "organisers' loop", results) or [0])
    proof.check(not any(row[2] for row in rows), "the organisers' limit is exceeded")
    real = min(rows, key=lambda row: row[3])[1]
    print(
        f"\nmean F1 {f1:.3f}. The smallest image takes {real:.2f} s, start of the container "
        f"included; the paper's system {PAPER} s before it looks at one."
    )


if __name__ == "__main__":
    sys.exit(main())
