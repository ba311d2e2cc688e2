"""Stop the image halfway: what is done must be kept, and --resume go on from it."""

import time

from container.cases import Case
from container.engine import last_line
from container.proof import IMAGES, SUFFIX, Proof, print_row
from container.run import docker_run, lay_folders, run_case

STOP_WITHIN = 2  # seconds
PATIENCE = 300  # seconds for the first image


def stop_halfway(proof: Proof, case: Case) -> None:
    """Stop a run of all samples when the first is done, then go on with it.

    The run gets so little of a core that an image takes a second.
    """
    lay_folders(proof, case)
    outputs = proof.folder / "outputs"
    proof.engine(*docker_run(proof, case.options, case.command, "--detach", "--cpus", "0.25"))
    end = time.monotonic() + PATIENCE
    while not labels(proof) and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.1)  # well within the next one
    started = time.monotonic()
    proof.engine("stop", proof.mark)
    seconds = time.monotonic() - started
    status = int(proof.engine("wait", proof.mark).stdout)
    line = last_line(proof.engine("logs", proof.mark).stderr)
    proof.engine("rm", proof.mark)
    kept = labels(proof)
    print_row(case.what, case.owner, status, "", f"{seconds:.1f}", "", f"{len(kept)} kept; {line}")
    proof.check(status == 130 and "interrupted" in line, f"{case.what}: status {status}, {line}")
    proof.check(seconds < STOP_WITHIN, f"{case.what}: it took {seconds:.1f} s")
    proof.check(0 < len(kept) < len(IMAGES), f"{case.what}: {len(kept)} label images are there")
    parts = [path.name for path in outputs.glob(f".*{SUFFIX}.*")]
    proof.check(not parts, f"{case.what}: {parts} are left")
    resume = Case(
        f"{case.what}, then --resume",
        case.options,
        "sh predict.sh --resume",
        images=IMAGES,
        owner=case.owner,
        files=case.files,
        says=f"{len(IMAGES)} of {len(IMAGES)} images done",
        warns=f"({len(kept)} settled already)",
    )
    run_case(proof, resume, anew=False)


def labels(proof: Proof) -> list[str]:
    """The label images that are there, by name."""
    return sorted(path.name for path in (proof.folder / "outputs").glob(f"*{SUFFIX}"))
