"""A Docker Engine to prove the image with: the machine's own or, where none answers, a private one.

The private one takes root on Debian or Ubuntu and installs nothing: its packages are downloaded and
unpacked into a folder, where all its data lie, too. It has no bridge and leaves the firewall as it
is; so builds use the host's network, and containers have none. It is stopped by its process id.
"""

import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SPACE = 4e9  # bytes
_PATIENCE = 60  # seconds for an engine to start, or to stop
_SOURCES = ("sources.list", "sources.list.d/debian.sources", "sources.list.d/ubuntu.sources")
_UNREAD = ("man", "locale", "info", "doc")  # folders of /usr/share that slim images go without


class UnavailableError(RuntimeError):
    """Something that this machine doesn't have; says what it would take."""


@dataclass(frozen=True)
class Engine:
    """A Docker Engine that answers."""

    client: str
    """The program that talks to it."""
    environment: Mapping[str, str]
    """Lets any ``docker`` command reach it."""

    def __call__(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a docker command to its end; ``given`` is its standard input."""
        return subprocess.run(
            [self.client, *arguments],
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    def version(self) -> str:
        """Its version; empty where it doesn't answer."""
        return self("version", "--format", "{{.Server.Version}}").stdout.strip()


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for an engine and all that it holds, of which nothing is left.

    Raises:
        UnavailableError: there is too little space.
    """
    # Short, as the path of a socket has to fit into 108 characters.
    with tempfile.TemporaryDirectory(prefix="vsm-") as name:
        folder = Path(name).resolve()
        if shutil.disk_usage(folder).free < _SPACE:
            raise UnavailableError(f"{_SPACE / 1e9:.0f} GB are needed in {folder.parent}")
        folder.chmod(0o755)  # containers of any user have to reach what is mounted of it
        try:
            yield folder
        finally:
            unmount(folder)


@contextmanager
def running_engine(folder: Path) -> Iterator[Engine]:
    """The machine's engine, or a private one that lives in a folder and ends with the context.

    Args:
        folder: private.

    Raises:
        UnavailableError: there is neither.
    """
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    if client := shutil.which("docker"):
        engine = Engine(client, environment)
        if engine.version():
            yield engine
            return
    environment |= unpacked(folder, "docker.io", "no Docker Engine answers")
    environment["DOCKER_HOST"] = f"unix://{folder}/s"
    engine = Engine(found("docker", environment), environment)
    command = [found("dockerd", environment), "-H", environment["DOCKER_HOST"]]
    command += [f"--data-root={folder}/data", f"--exec-root={folder}/x", f"--pidfile={folder}/pid"]
    command += ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]
    command += ["--ip-forward=false", "--storage-driver=overlay2"]
    log = folder / "log"
    with log.open("w") as file:
        # A session of its own: Ctrl-C is for this process, which then stops the engine.
        daemon = subprocess.Popen(
            command, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        end = time.monotonic() + _PATIENCE
        while not engine.version():
            if daemon.poll() is not None or time.monotonic() > end:
                raise UnavailableError(f"dockerd doesn't start here: {last_line(log.read_text())}")
            time.sleep(0.2)
        yield engine
    finally:
        daemon.terminate()
        daemon.wait(_PATIENCE)


def base_image(engine: Engine, name: str, folder: Path) -> str:
    """The image to build on: one that is there, or that a registry has, or a stand-in made here.

    Args:
        engine: has the image afterwards.
        name: of the published image, with its digest.
        folder: for the packages that make a stand-in.

    Returns:
        The name that the engine knows it by.

    Raises:
        UnavailableError: no registry answers, and a stand-in can't be made or would not do.
    """
    if not engine("image", "inspect", name).returncode:
        return name
    pulled = engine("pull", "--quiet", name)
    if not pulled.returncode:
        return name
    if "cuda" in name:
        raise UnavailableError(f"{name} can't be pulled: {last_line(pulled.stderr)}")
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    environment |= unpacked(folder, "mmdebstrap", f"no registry has {name}")
    archive = folder / "base.tar"
    command = [found("mmdebstrap", environment), "--mode=root", "--variant=minbase"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in _UNREAD]
    command += ["--dpkgopt=path-include=/usr/share/doc/*/copyright", codename, str(archive)]
    command += [
        str(Path("/etc/apt", source)) for source in _SOURCES if Path("/etc/apt", source).is_file()
    ]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.communicate()[1]
        finally:
            process.terminate()  # if this was interrupted: it unmounts what it has mounted
    if process.returncode:
        raise UnavailableError(f"mmdebstrap can't make a base image: {last_line(said)}")
    stand_in = f"stand-in:{codename}"
    engine("import", str(archive), stand_in)
    archive.unlink()
    return stand_in


def unpacked(folder: Path, package: str, reason: str) -> dict[str, str]:
    """Unpack a Debian package, and what it needs and this machine lacks, into a folder.

    Args:
        folder: private.
        package: its name.
        reason: why it is wanted, for messages.

    Returns:
        The environment in which its programs are found, before any others of their names.

    Raises:
        UnavailableError: that takes root, apt and a network.
    """
    if os.geteuid() or not shutil.which("apt-get"):
        raise UnavailableError(f"{reason}, and to unpack {package} takes root on Debian or Ubuntu")
    lists, archives, root = (folder / name for name in ("lists", "cache/archives", "root"))
    for place in (lists, archives):
        (place / "partial").mkdir(parents=True, exist_ok=True)
    apt = ["apt-get", "-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={folder}/cache"]
    apt += ["-o", "APT::Sandbox::User=root", "-o", "APT::Update::Error-Mode=any"]
    get = ["install", "--download-only", "--yes", "--no-install-recommends", package]
    for command in (["update"], get):
        done = subprocess.run([*apt, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            problem = last_line(done.stderr)
            raise UnavailableError(f"{reason}, and apt-get can't fetch {package}: {problem}")
    for archive in archives.glob("*.deb"):
        subprocess.run(["dpkg", "--extract", archive, root], check=True)
    programs = [f"{root}/usr/sbin", f"{root}/usr/bin", "/usr/sbin", "/usr/bin", os.environ["PATH"]]
    return {
        "PATH": os.pathsep.join(programs),
        "LD_LIBRARY_PATH": f"{root}/usr/lib/{platform.machine()}-linux-gnu",
    }


def found(program: str, environment: Mapping[str, str]) -> str:
    """Path of a program; Popen itself looks only where this process would."""
    path = shutil.which(program, path=environment["PATH"])
    if path is None:
        raise UnavailableError(f"{program} isn't in the packages of this machine's distribution")
    return path


def unmount(folder: Path) -> None:
    """Unmount what an engine has left mounted in a folder, the innermost first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    for point in reversed([line.split()[1] for line in lines]):
        if Path(point).is_relative_to(folder):
            subprocess.run(["umount", point], check=False)


def last_line(text: str) -> str:
    """The last line of what a program said."""
    return (text.strip().splitlines() or ["it says nothing"])[-1]
