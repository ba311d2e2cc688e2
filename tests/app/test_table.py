"""The table of the cells, as spreadsheets and programs read it, and the page that explains it."""

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest

from app.files.labels import output_path, result_path
from app.files.stacks import Grid
from app.results import table
from app.results.table import on_plane, write_table
from tests.app.test_measure import measured

PAGE = Path("docs/results.md")
COLUMNS = {
    "label": np.array([1, 2, 3]),
    "area": np.array([1, 2**40, 7], np.int64),
    "solidity": np.array([1 / 3, math.nan, 1.0]),
    "score": np.array([0.9, 1e-7, math.nan], np.float32),
    "touches_edge": np.array([True, False, False]),
}
WRITTEN = """\
label,area,solidity,score,touches_edge
1,1,0.333333333,0.9,True
2,1099511627776,,1e-07,False
3,7,1,,False
"""


def test_the_whole_file(tmp_path):
    write_table(tmp_path / "a_cells.csv", [COLUMNS])
    assert (tmp_path / "a_cells.csv").read_bytes() == WRITTEN.encode()
    assert [path.name for path in tmp_path.iterdir()] == ["a_cells.csv"]


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_rows_are_written_in_parts(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(table, "_ROWS", rows)
    write_table(tmp_path / "a_cells.csv", [COLUMNS])
    assert (tmp_path / "a_cells.csv").read_text() == WRITTEN


def test_without_cells_there_is_a_header(tmp_path):
    write_table(tmp_path / "a.csv", [{name: values[:0] for name, values in COLUMNS.items()}])
    assert (tmp_path / "a.csv").read_text() == WRITTEN.splitlines(keepends=True)[0]


@pytest.mark.parametrize(
    "name",
    ["CD3, clone 2", 'the "green" one', "two\nlines", "=1+1", "µ-opioid", " DAPI ", "a\r\nb"],
)
def test_channels_of_any_name(tmp_path, name):
    columns = measured(np.ones((2, 2), int), np.full((2, 2, 1), 3.5), [name])
    write_table(tmp_path / "a.csv", [columns])
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        header, row = csv.reader(file)
    assert header == list(columns) and row[header.index(f"intensity_mean-{name}")] == "3.5"
    assert all(title[0].isalpha() for title in header)  # a spreadsheet takes none for a formula


def test_a_name_that_is_no_unicode_costs_nothing(tmp_path):
    write_table(tmp_path / "a.csv", [{"label": np.array([1]), "intensity_mean-\ud800": np.ones(1)}])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[1] == "1,1"


def test_the_numbers_come_back(tmp_path):
    rng = np.random.default_rng(1)
    labels = np.kron(np.arange(1, 41).reshape(5, 8), np.ones((9, 9), int))
    image = rng.normal(0, 1e4, (*labels.shape, 3))
    columns = measured(labels, image, pixel_size=(0.5, 0.25))
    write_table(tmp_path / "a.csv", [columns])
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    numbers = {"": math.nan, "True": 1, "False": 0}
    for name, values in columns.items():
        found = [float(numbers.get(row[name], row[name])) for row in rows]
        np.testing.assert_allclose(found, values, rtol=1e-8, err_msg=name)


def test_planes_of_a_stack_go_into_one_table(tmp_path):
    grid = Grid("TZ", (1, 3), ((0, 0), (0, 2)))
    planes = [{name: values[:count] for name, values in COLUMNS.items()} for count in (2, 1)]
    write_table(tmp_path / "a.csv", (on_plane(each, grid, n) for n, each in enumerate(planes)))
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "plane,T,Z,label,area,solidity,score,touches_edge",
        "0,0,0,1,1,0.333333333,0.9,True",
        "0,0,0,2,1099511627776,,1e-07,False",
        "1,0,2,1,1,0.333333333,0.9,True",
    ]


def test_an_earlier_table_stays_if_the_next_fails(tmp_path):
    path = tmp_path / "a.csv"
    write_table(path, [COLUMNS])

    def broken():
        yield COLUMNS
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_table(path, broken())
    assert path.read_text() == WRITTEN and len(list(tmp_path.iterdir())) == 1


def test_it_is_named_after_the_image():
    assert result_path(output_path(Path("in/drug_0.1uM.ome.tif"), Path("out")), "table") == Path(
        "out/drug_0.1uM_cells.csv"
    )


def test_the_page_names_every_column_in_order():
    columns = measured(np.ones((2, 2), int), names=["NAME"], pixel_size=(1.0, 1.0))
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(), re.MULTILINE)
    assert [name for row in rows for name in re.findall("`(.+?)`", row)] == list(columns)
