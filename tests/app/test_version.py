"""The version, the commit and the package that is built: each stands in one place."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from app import __version__, version
from app.running.options import parse
from app.settings import WEIGHTS
from tests.app.command_line import run, write

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())
COMMIT = "0123456789abcdef" * 2 + "01234567"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository with one commit, and a package in it."""
    if not shutil.which("git"):
        pytest.skip("there is no git")
    package = tmp_path / "repository" / "app"
    package.mkdir(parents=True)
    (package / "code.py").write_text("")
    git(package.parent, "init", "--quiet")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "--quiet", "--message=first")
    return package


def test_the_version_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert "version" not in PROJECT["project"] and PROJECT["project"]["dynamic"] == ["version"]
    attribute = PROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert attribute == "vsm.version.__version__"
    assert __version__ not in Path("Dockerfile").read_text()


def test_what_is_published_names_the_version():
    heading = re.search(r"^## (.*)$", Path("CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading is not None
    assert heading[1] == "Unreleased" or heading[1].startswith(f"{__version__} ")
    citation = Path("CITATION.cff").read_text()
    assert re.findall(r"^version: *(\S+)$", citation, re.MULTILINE) == [__version__]


def test_every_room_is_in_the_package():
    wanted = {"vsm", "vsm.weights"}
    rooms = Path("app").glob("*/**/__init__.py")
    wanted |= {".".join(("vsm", *path.parts[1:-1])) for path in rooms}
    settings = PROJECT["tool"]["setuptools"]
    assert sorted(settings["packages"]) == sorted(wanted)
    assert settings["package-dir"] == {"vsm": "app", "vsm.weights": "weights"}


def test_every_graph_is_in_the_package():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["vsm.weights"]
    packed = {path.name for pattern in patterns for path in Path("weights").glob(pattern)}
    settings = json.loads(Path("weights/settings.json").read_text())
    graphs = [*settings["detector"].values(), *settings["segmenter"].values()]
    assert packed >= {"settings.json", "README.md", *(graph["file"] for graph in graphs)}
    assert Path("weights").resolve() == WEIGHTS


def test_the_dependencies_are_those_of_the_lock_file():
    def names(lines):
        return {re.split(r"[\s=><#]", line)[0] for line in lines} - {""}

    dependencies = PROJECT["project"]["dependencies"]
    assert all(">=" in line and "<" not in line for line in dependencies)
    locked = names(Path("requirements.in").read_text().splitlines())
    assert names(dependencies) - {"onnxruntime"} == locked - {"onnxruntime-gpu"}
    assert set(PROJECT["project"]["optional-dependencies"]) == {"gpu"}


def test_a_checkout_knows_its_commit(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert version.commit(checkout) == head and len(head) == 40
    git(checkout, "tag", "--annotate", "--message=first", "v1")
    assert version.commit(checkout) == head
    (checkout / "code.py").write_text("changed")
    assert version.commit(checkout) == f"{head}-dirty"


def test_what_was_stamped_counts_more(checkout):
    (checkout / version.STAMP).write_text(f"{COMMIT}\n")
    assert version.commit(checkout) == COMMIT


@pytest.mark.parametrize("text", ["", "unknown", "main", COMMIT[:12], f"{COMMIT}\nmore"])
def test_a_stamp_that_is_no_commit_is_not_told(text, tmp_path):
    (tmp_path / version.STAMP).write_text(text)
    assert version.commit(tmp_path) is None


def test_the_repository_around_an_installed_package_is_not_its_own(checkout):
    package = checkout.parent / "venv" / "site-packages" / "vsm"
    package.mkdir(parents=True)
    assert version.commit(package) is None


@pytest.mark.parametrize("trouble", ["no git", "no commit", "hangs"])
def test_it_never_fails_for_want_of_a_commit(trouble, checkout, monkeypatch, tmp_path):
    if trouble == "no commit":
        shutil.rmtree(checkout.parent / ".git")
        git(checkout.parent, "init", "--quiet")
    else:
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if trouble == "hangs":
        (tmp_path / "bin" / "git").write_text(
            f"#!{sys.executable}\nimport threading\nthreading.Event().wait()\n"
        )
        (tmp_path / "bin" / "git").chmod(0o755)
        monkeypatch.setattr(version, "_PATIENCE", 0.1)
    assert version.commit(checkout) is None


def told() -> dict[str, str]:
    """The versions of what is installed, by their packages' own word."""
    code = (
        "import platform, numpy, cv2, tifffile, onnxruntime as o;"
        "print(platform.python_version(), numpy.__version__, cv2.__version__,"
        "tifffile.__version__, o.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = ("python", "numpy", "opencv", "tifffile", "onnxruntime")
    return dict(zip(names, done.stdout.split(), strict=True))


def test_the_command_tells_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        parse(["--version"])
    assert ended.value.code == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"vsm {__version__}, commit {version.commit() or 'unknown'}"
    assert second == ", ".join(f"{name} {number}" for name, number in told().items())


def test_run_json_tells_what_made_it(folder):
    write(folder / "in" / "a.png")
    assert run(folder / "in", folder / "out") == 0
    report = json.loads((folder / "out" / "run.json").read_text())
    assert (report["version"], report["commit"]) == (__version__, version.commit())
    (one,) = report["runs"].values()
    assert one["libraries"] == told()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one["started"])


@pytest.mark.parametrize(("system", "name"), [("win32", "Windows"), ("darwin", "Darwin")])
def test_another_system_than_linux_is_told_in_a_line(system, name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("platform.system", lambda: name)
    with pytest.raises(SystemExit) as ended:
        parse(["in", "out"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert f"runs on Linux alone, this is {name}; " in error
