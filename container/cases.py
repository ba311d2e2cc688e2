"""The ways to run the image, and what has to come of each."""

from dataclasses import dataclass
from pathlib import Path

from app.session import candidates
from app.settings import WEIGHTS, graph_path, load_settings
from container.proof import IMAGES, SMALL

# The detector's graph that this CPU runs.
_GRAPH = graph_path(WEIGHTS, load_settings(WEIGHTS).detector, candidates("cpu")[0]).name

MOUNTS = "-v {inputs}:/inputs:ro -v {outputs}:/outputs"
WORKSPACE = "-v {inputs}:/workspace/inputs/ -v {outputs}:/workspace/outputs/"
ORGANISERS = '/bin/bash -c "sh predict.sh"'
NO_RIGHTS = "--cap-drop ALL --security-opt no-new-privileges"
READ_ONLY = "--network none --read-only --tmpfs /tmp:rw,size=64m"
_CHOOSE = 'docker run --user "$(id -u):$(id -g)"'


@dataclass(frozen=True)
class Case:
    """A way to run the image, and what has to come of it.

    Users own what belongs to their group of the same number.
    """

    what: str
    options: str = MOUNTS
    """Of docker run; {inputs}, {outputs}, {volume} and {file} are filled in."""
    command: str = ""
    images: tuple[Path, ...] = SMALL
    owner: int | None = 0
    """Of the output folder; None: it is not there."""
    mode: int = 0o755
    """Of the output folder."""
    input_owner: int = 0
    input_mode: int = 0o755
    status: int = 0
    says: str = "1 of 1 image done"
    """In the last line that it says."""
    warns: str = "segmenting 1 image on CPUExecutionProvider"
    """In a line before the last, where it succeeds."""
    is_quiet: bool = True
    """Whether it says no more than two lines, or where it fails one."""
    files: int | None = 0
    """Who owns what was made; None: nothing is to be there."""
    where: str = ""
    """Folder of the label images in the output folder."""
    short: bool = False
    """Whether --short has it."""


USERS = (
    Case("as a user types it", files=0, short=True),
    Case("as a user types it", owner=1000, files=1000),
    Case("as a user types it", owner=12345, files=12345, short=True),
    Case("output folder made by Docker", owner=None, files=0),
    Case(
        "output folder made by the image, in one that is there",
        command="sh predict.sh /inputs /outputs/new/run",
        owner=12345,
        files=12345,
        where="new/run",
    ),
    Case(
        "as the organisers type it",
        f"-m 2g {WORKSPACE}",
        ORGANISERS,
        owner=1000,
        files=1000,
        short=True,
    ),
    Case(
        "`python -m app` in another folder",
        f"-w /tmp {MOUNTS}",
        "python -m app /inputs /outputs",
        owner=1000,
        files=1000,
    ),
    Case(
        "as Nextflow starts it: by bash, in the output folder",
        f"--entrypoint /bin/bash -w /outputs {MOUNTS}",
        '-uec "ps > /dev/null && vsm /inputs ."',
        owner=1000,
        files=1000,
        short=True,
    ),
    Case(
        "as a Kubernetes Job starts it: a shard, read-only, no rights, --user 12345:12345",
        f"-e JOB_COMPLETION_INDEX=0 --read-only {NO_RIGHTS} --user 12345:12345 {MOUNTS}",
        "vsm /inputs /outputs --shard auto/1 --resume",
        owner=12345,
        files=12345,
        short=True,
    ),
    Case("named volume", "-v {inputs}:/inputs:ro -v {volume}:/outputs"),
    Case(
        "named volume, --user 12345:12345",
        "--user 12345:12345 -v {inputs}:/inputs:ro -v {volume}:/outputs",
        files=12345,
    ),
    Case("--user 12345:12345", f"--user 12345:12345 {MOUNTS}", owner=12345, files=12345),
    Case("--user 0:0", f"--user 0:0 {MOUNTS}", owner=1000, files=0),
    Case(
        "--user 0, which Docker can't tell from none", f"--user 0 {MOUNTS}", owner=1000, files=1000
    ),
    Case(
        "--user 12345:12345",
        f"--user 12345:12345 {MOUNTS}",
        status=2,
        says="/outputs: user 12345 can't write to this folder of user 0 (Permission denied)",
        files=None,
    ),
    Case("--read-only, --tmpfs /tmp", f"{READ_ONLY} {MOUNTS}", owner=12345, files=12345),
    Case(
        "read-only, no network, no rights, 2 GB, one core, --user 12345:12345",
        f"{READ_ONLY} {NO_RIGHTS} --memory 2g --cpus 1 --user 12345:12345 {MOUNTS}",
        images=IMAGES,
        says=f"{len(IMAGES)} of {len(IMAGES)} images done",
        warns=f"segmenting {len(IMAGES)} images on CPUExecutionProvider",
        owner=12345,
        files=12345,
        short=True,
    ),
    Case("no new privileges", f"--security-opt no-new-privileges {MOUNTS}", owner=1000, files=1000),
    Case("no rights", f"{NO_RIGHTS} {MOUNTS}", owner=0, files=0),
    Case("no rights, folder open to all", f"{NO_RIGHTS} {MOUNTS}", owner=1000, mode=0o777, files=0),
    Case(
        "no rights",
        f"{NO_RIGHTS} {MOUNTS}",
        owner=1000,
        status=2,
        says="/outputs: user 0 can't write to this folder of user 1000, and may not become that "
        f"user; use {_CHOOSE}, or --cap-add SETUID --cap-add SETGID",
        files=None,
        short=True,
    ),
    Case(
        "no rights, --user 1000:1000",
        f"{NO_RIGHTS} --user 1000:1000 {MOUNTS}",
        owner=1000,
        files=1000,
    ),
    Case(
        "no rights but SETUID and SETGID",
        f"{NO_RIGHTS} --cap-add SETUID --cap-add SETGID {MOUNTS}",
        owner=1000,
        files=1000,
    ),
    Case("inputs that root alone can read", input_mode=0o700, owner=0, files=0),
    Case(
        "inputs that root alone can read",
        input_mode=0o700,
        owner=1000,
        status=2,
        says="/inputs: user 1000, the owner of /outputs, can't read this; make it readable, or run "
        f"as a user who can, and who can write to /outputs: {_CHOOSE}",
        files=None,
        short=True,
    ),
    Case(
        "inputs that root alone can read, --user 0:0",
        f"--user 0:0 {MOUNTS}",
        input_mode=0o700,
        owner=1000,
        files=0,
    ),
    Case(
        "no rights, inputs that user 1000 alone can read",
        f"{NO_RIGHTS} {MOUNTS}",
        input_owner=1000,
        input_mode=0o700,
        status=2,
        says="/inputs: user 0, the owner of /outputs, can't read this",
        files=None,
    ),
    Case(
        "inputs that group 4242 alone can read, --group-add 4242",
        f"--group-add 4242 {MOUNTS}",
        input_owner=4242,
        input_mode=0o750,
        owner=1000,
        files=1000,
    ),
)
OTHERS = (
    Case(
        "all samples",
        images=IMAGES,
        says=f"{len(IMAGES)} of {len(IMAGES)} images done",
        warns=f"segmenting {len(IMAGES)} images on CPUExecutionProvider",
    ),
    Case(
        "a driver that CUDA can't use, --read-only",
        f"{READ_ONLY},exec {MOUNTS}",
        'sh -c "cp /lib/*/libm.so.6 /tmp/libcuda.so.1 && LD_LIBRARY_PATH=/tmp sh predict.sh"',
        warns="warning: ONNX Runtime could not start CUDA",
        is_quiet=False,  # ONNX Runtime itself says what it misses
    ),
    Case(
        "--device cuda where there is none",
        command="sh predict.sh --device cuda",
        status=2,
        says="device cuda: ONNX Runtime could not start CUDA",
        is_quiet=False,
        files=None,
    ),
    Case(
        "output folder mounted read-only",
        f"{MOUNTS}:ro",
        owner=1000,
        status=2,
        says="/outputs: user 1000 can't write to this folder of user 1000 (Read-only file system)",
        files=None,
    ),
    Case(
        "input folder without an image",
        images=(),
        status=2,
        says="/inputs: no image in this folder",
        files=None,
    ),
    Case(
        "weights that the settings don't name",
        f"{MOUNTS} -v {{file}}:/workspace/weights/{_GRAPH}:ro",
        status=2,
        says=f"weights/{_GRAPH}: its SHA-256 is",
        files=None,
    ),
)
