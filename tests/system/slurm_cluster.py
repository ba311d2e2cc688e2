"""A SLURM cluster on this machine: a controller, and two nodes that pass for machines."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.app.crashing import wait_for

PROGRAMS = "munged", "slurmctld", "slurmd", "sbatch", "squeue", "unshare", "setpriv"
NODES = "n1", "n2"
_CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=6
KillWait=2
InactiveLimit=0
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=8000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=8000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
# The first process of a node, which outlives its daemon. The files are where SLURM's programs look
# for them, for Snakemake's jobs lose the variable.
_NODE = "mount --bind {folder} /etc/slurm && slurmd -D -N {node} & while :; do wait; sleep 1; done"


def why_not() -> str:
    """Why there can't be one here; empty if it can."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        packages = "slurmctld slurmd slurm-client munge"
        return f"{', '.join(missing)} not installed (apt-get install {packages})"
    if os.geteuid() != 0:
        return "SLURM's daemons have to be started by root"
    if subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"]).returncode:
        return "this machine allows no process namespaces"
    return ""


class Cluster:
    """The daemons; they end with the ``with`` block, and with this process.

    Args:
        folder: for all their files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Cluster":
        host = socket.gethostname()
        text = _CONFIG.format(host=host, folder=self.folder, ports=_free_ports(3))
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o400)
        (self.folder / "state").mkdir()
        try:
            files = {"key-file": "key", "socket": "socket", "pid-file": "pid"}
            files |= {"log-file": "log", "seed-file": "seed"}
            given = [f"--{each}={self.folder}/munge.{end}" for each, end in files.items()]
            self._start("munged", "munged", "--foreground", "--force", *given)
            wait_for(lambda: (self.folder / "munge.socket").exists())
            self._start("slurmctld", "slurmctld", "-D")
            for node in NODES:
                self.start_node(node)
            wait_for(lambda: self.states() == dict.fromkeys(NODES, "idle"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self._daemons.values()):
            daemon.kill()
            daemon.wait()

    def start_node(self, node: str) -> None:
        """A node in a process namespace of its own: all of it ends with its first process."""
        alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        self._start(node, *alone, "sh", "-c", _NODE.format(folder=self.folder, node=node))

    def run(self, *command: object, cwd: Path | None = None, **variables: str) -> str:
        """What a command says, with this cluster for SLURM's programs."""
        given, environment = [str(word) for word in command], self.environment | variables
        pipe = subprocess.PIPE
        done = subprocess.run(given, cwd=cwd, env=environment, check=True, stdout=pipe, text=True)
        return done.stdout

    def states(self) -> dict[str, str]:
        """Of the nodes, in SLURM's words."""
        try:
            lines = self.run("sinfo", "-hN", "-o", "%N %T").split("\n")
        except subprocess.CalledProcessError:  # the controller has not started yet
            return {}
        return dict(line.split() for line in lines if line)

    def lose(self, node: str) -> None:
        """As if its power went: daemon, step daemons and tasks are killed."""
        self._daemons[node].kill()
        self._daemons[node].wait()

    def lose_daemons(self, node: str) -> None:
        """As if its network went: daemon and step daemons are killed, tasks work on."""
        for process in self.processes(node):
            if (process / "comm").read_text().strip() in ("slurmd", "slurmstepd"):
                os.kill(int(process.name), signal.SIGKILL)

    def processes(self, node: str) -> list[Path]:
        """Of a node, as folders in /proc."""
        first = self._daemons[node].pid
        (child,) = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        mine = Path(f"/proc/{child}/ns/pid").stat().st_ino
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                same = (process / "ns/pid").stat().st_ino == mine
            except OSError:  # it has just ended
                continue
            found += [process] if same else []
        return found

    def _start(self, name: str, *command: str) -> None:
        given = ["setpriv", "--pdeathsig", "KILL", *command]
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(given, env=self.environment, stderr=out)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
