"""The Snakemake workflow on this machine: four jobs at a time, and one that fails."""

import re
import shutil

import pytest

from tests.app.command_line import labels, report, write
from tests.system.snakemake_command import IMAGES, segment_alone, snakemake, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder with all images in ``in``, and in ``out`` what one run makes of them."""
    return segment_alone(tmp_path_factory.mktemp("alone"))


def jobs(told):
    """The shards of the jobs that were started, and how often all was merged."""
    return sorted(re.findall(r"wildcards: shard=(\d)", told)), told.count("rule merge:")


def test_four_jobs_make_what_one_run_makes_and_a_broken_image_fails_its_job_alone(alone, tmp_path):
    shutil.copytree(alone / "in", tmp_path / "in")
    (tmp_path / "in" / "07.tif").write_bytes(b"no image")
    status, told = snakemake(tmp_path, "local")
    assert status == 1 and jobs(told) == (["0", "1", "2", "3"], 0)
    assert told.count("Error in rule") == 1 and "39 of 40 images done by 4 shards" in told
    marks = tmp_path / "out" / ".snakemake_done"
    done = {path.name for path in marks.iterdir() if not path.suffix}
    assert len(done) == 3 and "all_of_4" not in done
    failed = report(tmp_path)[1]["07.tif"]
    assert failed["status"] == "failed" and told.count(failed["error"]) == 2  # its log, and merge
    whole = labels(alone)
    assert labels(tmp_path) == {n: whole[n] for n in whole if n != "07_label.tiff"}

    (missing,) = {f"{n}_of_4" for n in range(4)} - done
    shutil.copy(alone / "in" / "07.tif", tmp_path / "in")
    status, told = snakemake(tmp_path, "local")
    assert status == 0 and jobs(told) == ([missing[0]], 1)
    assert labels(tmp_path) == whole and len(whole) == IMAGES
    assert {record["status"] for record in report(tmp_path)[1].values()} == {"done"}
    assert not (tmp_path / "out" / ".shards").exists()
    assert "Nothing to be done" in snakemake(tmp_path, "local")[1]

    (tmp_path / "out" / "03_label.tiff").unlink()
    shutil.copy(alone / "in" / "03.png", tmp_path / "in" / "later.png")
    assert snakemake(tmp_path, "local", "--forceall")[0] == 0
    more = labels(tmp_path)
    assert more.pop("later_label.tiff") == whole["03_label.tiff"] and more == whole


def test_jobs_that_fail_stop_no_other(folder):
    for n in range(6):
        (folder / "in" / f"{n}.png").write_bytes(b"no image")
    status, told = snakemake(folder, "local", shards=6)
    assert status == 1 and told.count("Error in rule") == 6  # four of them at a time
    assert "0 of 6 images done by 6 shards" in told and report(folder)[0]["failed"] == 6


@pytest.mark.parametrize("shards", ["0", "abc", "2.5", ""])
def test_what_is_no_number_of_shards_is_refused(folder, shards):
    status, told = snakemake(folder, "local", shards=shards)
    assert status == 1 and f"shards: a whole number from 1 was wanted, not {shards}" in told


def test_a_key_that_is_not_known_is_refused(folder):
    (folder / "wrong.yaml").write_text("optinos: --recursive")
    status, told = snakemake(folder, "local", "--configfile", "wrong.yaml")
    assert status == 1 and "optinos: there is no such key" in told


def test_another_number_of_shards_leaves_no_marks_of_an_earlier_one(folder):
    write(folder / "in" / "a.png")
    for shards in (2, 3):
        assert snakemake(folder, "local", shards=shards)[0] == 0
    write(folder / "in" / "b.png")
    status, told = snakemake(folder, "local", shards=2)
    assert status == 0 and jobs(told) == (["0", "1"], 1) and "b_label.tiff" in labels(folder)
