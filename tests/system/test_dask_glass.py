"""A slide of mostly glass on a Dask cluster: windows are looked at in parts."""

import json
import shutil

import numpy as np
import tifffile
from distributed import LocalCluster

from app.settings import FILE_NAME
from tests.app.command_line import TOY, report_of_one, run_in
from tests.system.test_dask import assert_as_on_one, known_of, on_cluster


def test_a_slide_of_mostly_glass_is_that_of_one_machine(folder):
    weights = shutil.copytree(TOY, folder / "weights")
    settings = json.loads((weights / FILE_NAME).read_text())
    settings["method"] |= {"window": 1024, "stride": 896}
    (weights / FILE_NAME).write_text(json.dumps(settings))
    image = np.full((1900, 2000), 220, np.uint8)
    for y, x in ((150, 160), (170, 900), (800, 100), (1700, 1800)):  # three in one window
        image[y : y + 30, x : x + 30] = 20
    tifffile.imwrite(folder / "in" / "slide.tif", image, tile=(64, 64))
    assert run_in(folder, "--weights", weights) == 0
    _, record = report_of_one(folder)
    assert record["look"]["skipped"] > 0.7 and record["instances"] >= 8
    (folder / "out").rename(folder / "one")
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0") as two:
        assert on_cluster(two.scheduler_address, folder, "--weights", weights) == 0
    assert_as_on_one(folder)
    assert known_of(record) == known_of(report_of_one(folder)[1])
