"""Whose files they are: in the image root becomes the owner of the output folder."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from app import __main__ as command
from app.running import owner

DAEMON = 1  # a group that any Linux has; the image's own is not on this machine
OTHER = 4242  # a group as of docker run --group-add
USER, GROUP = 12345, 23456

SCRIPT = """
import json, os, sys
from pathlib import Path
from app.running import owner
owner.GROUP = "daemon"
groups, capabilities, source, folder = sys.argv[1:]
os.setgroups(json.loads(groups))
if capabilities != "all":
    from tests.app.test_owner import keep_capabilities
    keep_capabilities(int(capabilities))
try:
    owner.work_as_owner(Path(source), Path(folder))
except owner.AccessError as error:
    sys.exit(f"error: {error}")
Path("/proc/self/clear_refs").write_text("5")  # as for the peak of memory
Path(folder).mkdir(exist_ok=True)
Path(folder, "made").touch()
lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
names = "Uid", "Gid", "Groups", "CapPrm", "CapEff", "NoNewPrivs"
print(json.dumps({"HOME": os.environ["HOME"], **{name: lines[name].split() for name in names}}))
"""


def keep_capabilities(mask: int) -> None:
    """Give up all capabilities but those of a mask, as docker run --cap-drop does."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


@pytest.fixture
def place():
    """A folder that any user can reach, with images to read and an output folder."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    (path / "inputs").mkdir()
    for name in ("a.png", "b.png"):
        (path / "inputs" / name).touch()
    (path / "outputs").mkdir()
    yield path
    shutil.rmtree(path)


def give(folder: Path) -> None:
    os.chown(folder, USER, GROUP)


def work(place: Path, folder: str = "outputs", groups=(0, DAEMON, OTHER), capabilities="all"):
    """A process like the image's, its end and what it is then."""
    arguments = [json.dumps(groups), str(capabilities), str(place / "inputs"), str(place / folder)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=False
    )
    return done.stderr.strip() or json.loads(done.stdout)


def owner_of(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


def test_root_becomes_the_owner_for_good(place):
    give(place / "outputs")
    assert work(place) == {
        "HOME": "/",
        "Uid": [str(USER)] * 4,
        "Gid": [str(GROUP)] * 4,
        "Groups": [str(OTHER)],  # what the caller added stays, root's own goes
        "CapPrm": ["0" * 16],
        "CapEff": ["0" * 16],
        "NoNewPrivs": ["1"],
    }
    assert owner_of(place / "outputs" / "made") == (USER, GROUP)


def test_a_missing_folder_is_made_by_the_owner_of_the_one_above(place):
    give(place / "outputs")
    work(place, "outputs/new")
    assert owner_of(place / "outputs" / "new") == (USER, GROUP)


def test_in_a_folder_of_root_it_stays_root(place):
    assert work(place)["Uid"] == ["0"] * 4
    assert owner_of(place / "outputs" / "made") == (0, 0)


@pytest.mark.parametrize("groups", [(), (0,), (0, OTHER)])
def test_a_chosen_user_and_root_outside_the_image_stay_what_they_are(place, groups):
    give(place / "outputs")
    found = work(place, groups=groups)
    assert found["Uid"] == ["0"] * 4
    assert found["Groups"] == [str(group) for group in groups]


def test_a_machine_without_the_group_is_not_the_image(place):
    give(place / "outputs")
    owner.work_as_owner(place / "inputs", place / "outputs")
    assert os.geteuid() == 0


@pytest.mark.parametrize("capabilities", [0, 1 << 6])  # CAP_SETGID alone is not enough
def test_without_the_rights_it_stays_root_and_says_what_to_do(place, capabilities):
    give(place / "outputs")
    assert work(place, capabilities=capabilities) == (
        f"error: {place}/outputs: user 0 can't write to this folder of user {USER}, and may not "
        'become that user; use docker run --user "$(id -u):$(id -g)", or --cap-add SETUID '
        "--cap-add SETGID"
    )
    (place / "outputs").chmod(0o777)
    found = work(place, capabilities=capabilities)
    assert [found[name] for name in ("Uid", "Gid")] == [["0"] * 4] * 2
    assert found["Groups"] == ["0", str(DAEMON), str(OTHER)]


def test_both_capabilities_are_enough(place):
    give(place / "outputs")
    assert work(place, capabilities=1 << 6 | 1 << 7)["Uid"] == [str(USER)] * 4


@pytest.mark.parametrize(("folder", "files"), [(0o700, 0o644), (0o744, 0o644), (0o755, 0o600)])
def test_inputs_that_the_owner_cant_read(place, folder, files):
    give(place / "outputs")
    for image in (place / "inputs").iterdir():
        image.chmod(files)
    (place / "inputs").chmod(folder)
    assert work(place) == (
        f"error: {place}/inputs: user {USER}, the owner of {place}/outputs, can't read this; make "
        f"it readable, or run as a user who can, and who can write to {place}/outputs: docker run "
        '--user "$(id -u):$(id -g)"'
    )


def test_inputs_that_root_cant_read_without_its_rights(place):
    (place / "inputs").chmod(0o700)
    give(place / "inputs")
    assert f"{place}/inputs: user 0, the owner of" in work(place, capabilities=0)


def test_one_image_that_cant_be_read_costs_only_itself(place):
    give(place / "outputs")
    (place / "inputs" / "a.png").chmod(0o600)
    assert work(place)["Uid"] == [str(USER)] * 4


@pytest.mark.parametrize("inputs", ["empty", "missing"])
def test_other_faults_of_the_inputs_are_told_later(place, inputs):
    give(place / "outputs")
    shutil.rmtree(place / "inputs")
    if inputs == "empty":
        (place / "inputs").mkdir()
    assert work(place)["Uid"] == [str(USER)] * 4


def test_the_command_tells_it_in_a_line(monkeypatch, capsys):
    def refuse(source: Path, folder: Path) -> None:
        raise owner.AccessError(f"{source} and {folder}: no")

    monkeypatch.setattr(command, "work_as_owner", refuse)
    assert command.main(["in", "out"]) == 2
    assert capsys.readouterr().err == "error: in and out: no\n"
