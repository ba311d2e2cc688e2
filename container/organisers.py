"""The image as the challenge's organisers get it and run it: saved, loaded, one image a start.

After baseline/cellseg_time_eval.py of JunMa11/NeurIPS-CellSeg: their command, folders and columns.
"""

import csv
import shutil
import subprocess
import time
from pathlib import Path

import tifffile

from app.files.labels import output_path
from container.engine import last_line
from container.image import save
from container.proof import IMAGES, TAG, Proof, judge, mean_text, print_head, print_row
from container.run import own
from tests.app.sample_scores import SAMPLES

TEAM = "team"
PAPER = 6.97  # seconds that the paper's system takes for any image, on its GPU
COMMAND = (
    'docker container run --gpus "device=0" -m 28g --rm -v $PWD/inputs/:/workspace/inputs/ '
    f'-v $PWD/outputs/:/workspace/outputs/ {TEAM}:latest /bin/bash -c "sh predict.sh"'
)
COLUMNS = ("CaseName", "RealTime", "RankTime")
OWNER = 1000  # of the organisers' output folder


def save_team(proof: Proof, path: Path) -> None:
    """Save the image as the challenge wants it, and load it again as the organisers will."""
    proof.engine("tag", TAG, TEAM)
    started = time.monotonic()
    found = save(proof.engine, TEAM, path, proof.mark)
    seconds = time.monotonic() - started
    found |= proof.mark in proof.engine("history", "--no-trunc", TEAM).stdout
    proof.check(not found, "a build secret is in the image")
    proof.engine("image", "rm", TEAM)
    loaded = last_line(proof.engine("load", "--input", str(path)).stdout)
    proof.check(f"{TEAM}:latest" in loaded, f"{path} can't be loaded: {loaded}")
    print(f"\n{path}: {path.stat().st_size / 1e6:.0f} MB, saved in {seconds:.0f} s. {loaded}.")


def organisers_loop(proof: Proof, path: Path) -> None:
    """One container an image, timed, with the organisers' command, folders and columns."""
    folder = proof.folder / "organisers"
    inputs, outputs, results = (folder / name for name in ("inputs", "outputs", "results"))
    for each in (inputs, outputs, results):
        each.mkdir(parents=True)
    own(outputs, OWNER, 0o755)
    command = COMMAND
    if proof.engine("run", "--rm", "--gpus", "device=0", TEAM, "true").returncode:
        command = command.replace('--gpus "device=0" ', "")
    print(f"\n{command}")
    print_head(*COLUMNS, "megapixels")
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
            mine = label.stat().st_uid == outputs.stat().st_uid
            proof.check(mine, f"organisers' loop: {label.name} is of {label.stat().st_uid}")
            label.rename(results / label.name)
        megapixels = tifffile.imread(SAMPLES / "labels" / label.name).size / 1e6
        rank = max(0, real - 10 * max(1, megapixels))
        rows.append((image.name, real, rank, megapixels))
        print_row(image.name, f"{real:.2f}", f"{rank:.2f}", f"{megapixels:.2f}")
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *(row[:3] for row in rows)])
    scores = judge(proof, "organisers' loop", results, IMAGES)
    proof.check(not any(row[2] for row in rows), "the organisers' limit is exceeded")
    real = min(rows, key=lambda row: row[3])[1]
    print(
        f"\nmean F1 {mean_text(scores)}. The smallest image takes {real:.2f} s, start of the "
        f"container included; the paper's system {PAPER} s before it looks at one."
    )
