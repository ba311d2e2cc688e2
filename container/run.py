"""Run the image as a case says, and look at what comes of it."""

import os
import shlex
import shutil
import time
from pathlib import Path

from container.cases import Case
from container.engine import last_line
from container.proof import TAG, Proof, judge, mean_text, print_head, print_row
from tests.app.sample_scores import SAMPLES


def run_cases(proof: Proof, cases: tuple[Case, ...]) -> None:
    """Run all of them and print a table."""
    print_head("run", "output folder of", "status", "files of", "seconds", "mean F1", "last line")
    for case in cases:
        if os.geteuid() and (case.owner, case.input_owner) != (0, 0):
            proof.skipped.append(f"{case.what} (folders of other users take root)")
        else:
            run_case(proof, case)


def run_case(proof: Proof, case: Case, *, anew: bool = True) -> None:
    """Run the image as a case says, check what comes of it, print a row.

    Args:
        proof: takes what is wrong.
        case: what to run.
        anew: with an empty output folder, not that of the last run.
    """
    name = f"{case.what} (folder of {case.owner})"
    if anew:
        lay_folders(proof, case)
    volume = "{volume}" in case.options
    if volume:
        proof.engine("volume", "create", proof.mark)
    started = time.monotonic()
    done = proof.engine(*docker_run(proof, case.options, case.command))
    seconds = time.monotonic() - started
    changed = {line[2:] for line in proof.engine("diff", proof.mark).stdout.splitlines()}
    proof.engine("rm", proof.mark)
    outputs = proof.folder / "outputs"
    if volume:
        form = ("volume", "inspect", "--format", "{{.Mountpoint}}", proof.mark)
        outputs = Path(proof.engine(*form).stdout.strip())
    # The client of a private engine, which forwards nothing, warns of that; and an image that isn't
    # shown in the usual way has a line.
    lines = [
        line
        for line in done.stderr.splitlines()
        if "IPv4 forwarding" not in line and ": shown " not in line
    ]
    last = last_line("\n".join(lines))
    made = list(outputs.rglob("*"))
    owners = sorted({(path.stat().st_uid, path.stat().st_gid) for path in made})
    wanted = [] if case.files is None else [(case.files, case.files)]
    fails = case.status != 0
    scores = [] if fails else judge(proof, name, outputs / case.where, case.images)
    for good, fault in (
        (done.returncode == case.status, f"exit status {done.returncode}"),
        (case.says in last, f"'{case.says}' is not said last, but '{last}'"),
        (fails or any(case.warns in line for line in lines), f"'{case.warns}' is not said"),
        (not case.is_quiet or len(lines) == 2 - fails, f"{len(lines)} lines are said"),
        (changed <= mount_points(case.options), f"{changed} have changed"),
        (owners == wanted, f"what was made is of {owners}: {[path.name for path in made]}"),
    ):
        proof.check(good, f"{name}: {fault}")
    if volume:
        proof.engine("volume", "rm", proof.mark)
    folder = "nobody yet" if volume or case.owner is None else case.owner
    files = " ".join(f"{user}:{group}" for user, group in owners)
    print_row(case.what, folder, done.returncode, files, f"{seconds:.1f}", mean_text(scores), last)


def docker_run(proof: Proof, options: str, command: str, *more: str) -> list[str]:
    """Arguments for docker to run the image, under the name of the mark."""
    places = {name: str(proof.folder / name) for name in ("inputs", "outputs")}
    places |= {"file": str((SAMPLES / "README.md").resolve()), "volume": proof.mark}
    filled = [part.format(**places) for part in shlex.split(options)]
    return ["run", *more, "--name", proof.mark, *filled, TAG, *shlex.split(command)]


def mount_points(options: str) -> set[str]:
    """What docker makes in a container to mount upon, and the folders that hold it."""
    targets = [Path(part.split(":")[1]) for part in shlex.split(options) if ":/" in part]
    return {str(place) for target in targets for place in (target, *target.parents)}


def lay_folders(proof: Proof, case: Case) -> None:
    """The folders that a case mounts."""
    inputs, outputs = (proof.folder / name for name in ("inputs", "outputs"))
    for path in (inputs, outputs):
        shutil.rmtree(path, ignore_errors=True)
    inputs.mkdir()
    for image in case.images:
        shutil.copy(image, inputs)
    own(inputs, case.input_owner, case.input_mode)
    if case.owner is not None:
        outputs.mkdir()
        own(outputs, case.owner, case.mode)


def own(folder: Path, user: int, mode: int) -> None:
    """Give a folder to a user, where this process is root; else it stays as it is."""
    folder.chmod(mode)
    if not os.geteuid():
        os.chown(folder, user, user)
