"""What cluster/ has for Kubernetes, Nextflow, MCMICRO and SLURM: its commands do what it says."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from app.running.options import parse, parse_merge
from app.version import __version__
from tests.app.command_line import IMAGE, LABEL, TOY, outputs, write

JOB, MERGE = (Path("cluster/kubernetes", name).read_text() for name in ("job.yaml", "merge.yaml"))
MODULE, META = (Path("cluster/nextflow", name).read_text() for name in ("main.nf", "meta.yml"))
MCMICRO = Path("cluster/mcmicro/params.yml").read_text()
SUBMIT = Path("cluster/slurm/submit.sh").resolve()
OPTIONS = f"--device cpu --weights {TOY.resolve()}"


def values(text: str, key: str) -> list[str]:
    """What follows a key of YAML, on its line, wherever that key stands."""
    return re.findall(rf"^[- ]*{key}: +(.*?)(?: +#.*)?$", text, re.MULTILINE)


def command(text: str) -> list[str]:
    """The command of a container of Kubernetes."""
    lines = [line for key in ("command", "args") for line in values(text, key)]
    return [word for line in lines for word in json.loads(line)]


def block(name: str) -> str:
    """The bash of a block of the Nextflow module, for the image "-a b.tif" of a sample."""
    pattern = rf'^    {name}:\n.*?"""\n(.*?)"""'
    (script,) = re.findall(pattern, MODULE, re.MULTILINE | re.DOTALL)
    (limit,) = re.findall('def memory = task.memory [?] "(.*)" :', MODULE)
    filled = {
        "image": r"-a\ b.tif",  # as Nextflow writes what is a file
        "image.baseName": "-a b",
        "prefix": "s 1",
        "task.cpus": "1",
        "memory": limit.replace("${task.memory.toMega()}", "2048"),
        "args": OPTIONS,
    }
    return re.sub(r"\$\{(.*?)\}", lambda found: filled[found[1]], script)


def run_by_bash(folder: Path, script: str) -> str:
    """Run a script in a folder as Nextflow does in the image, where predict.sh is ``vsm``."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "vsm").write_text(f'#!/bin/sh\nexec sh {Path("predict.sh").resolve()} "$@"\n')
    (programs / "vsm").chmod(0o755)
    (folder / ".command.sh").write_text(script)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["/bin/bash", "-ue", ".command.sh"],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_index_of_the_job_has_its_shard(monkeypatch):
    program, *given = command(JOB)
    (completions,) = map(int, values(JOB, "completions"))
    assert program == "vsm" and values(JOB, "completionMode") == ["Indexed"]
    assert values(JOB, "parallelism") == [str(completions)]
    for index in (0, completions - 1):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", str(index))
        options = parse(given)
        assert str(options.shard) == f"{index}/{completions}" and options.resume
        folders = [str(options.input), str(options.output)]
        assert folders == values(JOB, "mountPath") == values(MERGE, "mountPath")


def test_the_job_is_merged_in_its_folder():
    program, subcommand, *given = command(MERGE)
    assert (program, subcommand) == ("vsm", "merge")
    assert parse_merge(given).output == parse(command(JOB)[1:3]).output
    for key in ("image", "claimName", "runAsUser", "runAsGroup", "fsGroup"):
        assert values(MERGE, key) == values(JOB, key) != []


def test_what_becomes_of_a_task_follows_from_its_exit_status():
    rules = re.split("- action: ", JOB)[1:]
    codes = {rule.split()[0]: values(rule, "values") for rule in rules}
    assert codes == {"Ignore": [], "FailIndex": ["[1]"], "FailJob": ["[2]"]}
    # Kubernetes takes neither backoffLimitPerIndex nor podFailurePolicy without these.
    assert values(JOB, "restartPolicy") == ["Never"]
    assert set(values(JOB, "containerName")) == {values(JOB, "- name")[0]}


@pytest.mark.parametrize("results", ["", "--results all"])
def test_the_nextflow_module_makes_what_it_declares(folder, results):
    write(folder / "-a b.tif")
    run_by_bash(folder, f"{block('script').rstrip()} {results}\n")
    np.testing.assert_array_equal(tifffile.imread(folder / "s 1" / "-a b_label.tiff"), LABEL)
    declared = re.findall(r'path\("\$\{prefix\}/(.*?)"\)\s*, emit: \w+(, optional)?', MODULE)
    made = {path for pattern, _ in declared for path in (folder / "s 1").glob(pattern)}
    assert {path.name for path in made} == set(outputs(folder / "s 1"))
    wanted = [pattern for pattern, optional in declared if results or not optional]
    assert all(list((folder / "s 1").glob(pattern)) for pattern in wanted) and len(wanted) > 1


def test_the_stub_of_the_nextflow_module_makes_what_is_not_optional(folder):
    run_by_bash(folder, block("stub"))
    assert outputs(folder / "s 1") == ["-a b_label.tiff", "run.json"]


def test_nextflow_is_told_the_version(folder):
    (expression,) = re.findall(r'eval\("(.*)"\)', MODULE)
    assert META.count(f'- "{expression}":') == 2
    assert run_by_bash(folder, expression) == f"{__version__}\n"


def test_the_nextflow_module_is_described():
    emitted = re.findall(r"emit: (\w+)", MODULE)
    described = re.search(r"^output:\n(.*?)^topics:", META, re.MULTILINE | re.DOTALL)[1]
    assert re.findall(r"^  (\w+):$", described, re.MULTILINE) == emitted
    patterns = re.findall(r'path\("(\$\{prefix\}.*?)"\)', MODULE)
    assert re.findall(r'^      - "(\$\{prefix\}.*?)":$', described, re.MULTILINE) == patterns


def test_the_command_of_mcmicro_makes_one_mask(folder):
    (program,), (options,) = values(MCMICRO, "cmd"), values(MCMICRO, "vsm")
    assert values(MCMICRO, "input") == ["''"] and values(MCMICRO, "watershed") == ["'no'"]
    image = np.stack([IMAGE, np.zeros_like(IMAGE)])
    tifffile.imwrite(folder / "e-1.ome.tif", image, metadata={"axes": "CYX"})
    # MCMICRO's modules/lib/worker.nf: the command, the input, the options.
    run_by_bash(folder, f"{program}  e-1.ome.tif {options} {OPTIONS}\n")
    np.testing.assert_array_equal(tifffile.imread(folder / "cell.tif"), LABEL)
    assert outputs(folder) == sorted(
        [".command.sh", "cell.tif", "e-1.ome.tif", "in", "programs", "run.json"]
    )


def test_all_name_this_version():
    images = [
        *values(JOB, "image"),
        *values(MERGE, "image"),
        *re.findall("container '(.*)'", MODULE),
    ]
    assert images == [f"vsm:{__version__}"] * 3
    assert values(MCMICRO, "container") == ["vsm"] and values(MCMICRO, "version") == [__version__]


@pytest.fixture
def submit(folder):
    """Run submit.sh in a folder where SLURM's commands only write down how they were called."""
    programs = folder / "slurm"
    programs.mkdir()
    record = f'echo "${{0##*/}} $*" >> {folder}/calls\n'
    # The second sbatch, for the merging job, does what the test wants.
    number = (
        f'if [ $(grep -c ^sbatch {folder}/calls) = 2 ]; then eval "$SECOND"; fi; echo "7;cluster"'
    )
    for name, then in (("sbatch", number), ("scancel", "")):
        (programs / name).write_text(f"#!/bin/sh\n{record}{then}\n")
        (programs / name).chmod(0o755)

    def run(*given, **variables):
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        environment = {**os.environ, "SECOND": "", "PATH": path, **variables}
        command, calls = ["sh", str(SUBMIT), *given], folder / "calls"
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        return done, calls.read_text().splitlines() if calls.exists() else []

    return run


def test_an_array_is_submitted_and_a_job_that_merges_after_it(submit):
    done, (array, merge) = submit("16", "in", "out", "--results", "all")
    assert array.startswith("sbatch --parsable --array=0-15 ")
    assert re.search("/segment.sbatch 16 sh .*/predict.sh in out --results all$", array)
    assert " --dependency=afterany:7 " in merge and merge.endswith("predict.sh merge out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "jobs 7 (segment-7_*.log) and then 7 (merge-7.log)\n"
    # Logs are then elsewhere.
    assert submit("16", "in", "out", SBATCH_OUTPUT="%j")[0].stdout == "jobs 7 and then 7\n"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["08", "in", "out"], "08: a number of tasks was wanted first"),
        (["0", "in", "out"], "0: a number"),
        (["4", "in"], "N INPUT OUTPUT [OPTIONS] were wanted"),
        (["--results", "all", "4", "in", "out"], "--results: a number"),
        (["4", "--results", "all", "in", "out"], "--results: a folder was wanted"),
        (["4", "in", "--resume", "out"], "--resume: a folder was wanted"),
    ],
)
def test_what_can_be_no_array_is_not_submitted(submit, given, told):
    done, calls = submit(*given)
    assert (done.returncode, calls) == (2, []) and done.stderr.startswith(f"error: {told}")


@pytest.mark.parametrize(
    ("second", "status"),
    [("exit 1", 1), ("kill -TERM $(cut -d' ' -f4 /proc/$PPID/stat)", 128 + signal.SIGTERM)],
)
def test_an_array_that_nothing_merges_is_cancelled(submit, second, status):
    done, calls = submit("4", "in", "out", SECOND=second)
    assert done.returncode == status and calls[2:] == ["scancel 7"]
    assert done.stderr == "error: the jobs were not started; 7 is cancelled\n"
