"""What --results, filters and pixel sizes make of a run."""

import csv
import json
import zipfile

import cv2
import numpy as np
import pytest
import tifffile
from roifile import ImagejRoi

from app.running.options import parse, parse_report
from app.running.report import report as make_report
from tests.app.command_line import (
    IMAGE,
    LABEL,
    arguments,
    label,
    outputs,
    picture,
    report,
    report_of_one,
    run,
    run_in,
    write,
)
from tests.app.image_bytes import png_chunk

EVERYTHING = ["a.geojson", "a_cells.csv", "a_label.tiff", "a_overlay.jpg", "a_rois.zip"]


@pytest.fixture
def one(folder):
    write(folder / "in" / "a.png")
    return folder


def cells(folder, name="a"):
    with (folder / "out" / f"{name}_cells.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_results_lie_beside_the_label_image(one):
    assert run_in(one, "--results", "all") == 0
    assert outputs(one / "out") == [*EVERYTHING, "report.html", "run.json"]
    whole, image = report_of_one(one)
    assert image["results"] == {
        "table": "a_cells.csv",
        "geojson": "a.geojson",
        "rois": "a_rois.zip",
        "overlay": "a_overlay.jpg",
    }
    assert whole["results"] == ["geojson", "overlay", "report", "rois", "table"]
    assert [(row["label"], row["area"]) for row in cells(one)] == [("1", "192"), ("2", "352")]
    assert all(0.5 < float(row["mask_confidence"]) <= 1 for row in cells(one))
    features = json.loads((one / "out" / "a.geojson").read_text())["features"]
    assert [f["properties"]["measurements"]["Area px^2"] for f in features] == [192, 352]
    with zipfile.ZipFile(one / "out" / "a_rois.zip") as rois:
        found = [ImagejRoi.frombytes(rois.read(name)) for name in rois.namelist()]
    assert [(roi.name, roi.left, roi.top) for roi in found] == [("1", 4, 4), ("2", 24, 8)]
    assert cv2.imread(str(one / "out" / "a_overlay.jpg")).shape == (48, 56, 3)
    assert "a.png" in (one / "out" / "report.html").read_text()
    np.testing.assert_array_equal(label(one), LABEL)


def test_only_what_is_asked_for_is_written(one):
    assert run_in(one) == 0
    assert outputs(one / "out") == ["a_label.tiff", "run.json"]
    plain = (one / "out" / "a_label.tiff").read_bytes()
    assert run_in(one, "--results", "table, geojson.gz") == 0
    assert outputs(one / "out") == ["a.geojson.gz", "a_cells.csv", "a_label.tiff", "run.json"]
    assert (one / "out" / "a_label.tiff").read_bytes() == plain


def test_results_of_an_earlier_run_are_warned_of(one, capsys):
    assert run_in(one, "--results", "table,overlay") == 0
    assert run_in(one, "--results", "table") == 0
    assert "a_overlay.jpg is of an earlier run" in capsys.readouterr().err
    assert len(report_of_one(one)[1]["warnings"]) == 1


def test_resume_does_what_lacks_results_again(one, capsys):
    assert run_in(one) == 0
    assert run_in(one, "--resume", "--results", "table") == 0
    assert "settled" not in capsys.readouterr().err and len(cells(one)) == 2
    assert run_in(one, "--resume", "--results", "table") == 0
    assert "1 settled already" in capsys.readouterr().err


def test_every_plane_of_a_stack_is_in_each_result(folder):
    planes = np.stack([picture(0), picture(220), picture(200)])
    tifffile.imwrite(folder / "in" / "a.tif", planes, metadata={"axes": "TYX"}, ome=True)
    assert run_in(folder, "--stack", "each", "--results", "all") == 0
    assert outputs(folder / "out") == [*EVERYTHING, "report.html", "run.json"]
    rows = cells(folder)
    found = label(folder)
    assert [(int(r["plane"]), int(r["T"]), int(r["label"])) for r in rows] == [
        (plane, plane, number)
        for plane in range(3)
        for number in range(1, int(found[plane].max()) + 1)
    ]
    assert {row["plane"] for row in rows} >= {"1", "2"}
    features = json.loads((folder / "out" / "a.geojson").read_text())["features"]
    assert [f["geometry"]["plane"]["t"] for f in features] == [int(r["T"]) for r in rows]


@pytest.mark.parametrize(
    ("filters", "areas"),
    [
        (["--min-area", "200"], [352]),
        (["--max-area", "352"], [192, 352]),
        (["--max-area", "351.9"], [192]),
        (["--pixel-size", "0.5", "--min-area", "49um2"], [352]),
        (["--pixel-size", "2", "--min-area", "49um2"], [192, 352]),
        (["--min-score", "1"], []),
        (["--min-score", "0.1"], [192, 352]),
    ],
)
def test_cells_are_left_out_as_asked_and_numbers_stay_without_gaps(one, filters, areas):
    assert run_in(one, "--results", "table", *filters) == 0
    assert [int(row["area"]) for row in cells(one)] == areas
    assert np.bincount(label(one).ravel())[1:].tolist() == areas
    whole, image = report_of_one(one)
    assert image["instances"] == len(areas)
    given = dict(zip(filters[::2], filters[1::2], strict=True))
    assert whole["min_area"] == given.get("--min-area")
    assert (whole["min_score"] is None) == ("--min-score" not in given)


def test_cells_at_the_edge_are_left_out_as_asked(folder):
    write(folder / "in" / "a.png", IMAGE[:20])  # it cuts the second one
    assert run_in(folder, "--results", "table") == 0
    before = {row["label"]: row["touches_edge"] for row in cells(folder)}
    assert run_in(folder, "--exclude-edges", "--results", "table") == 0
    after = [row["touches_edge"] for row in cells(folder)]
    assert "True" in before.values()
    assert after == ["False"] * list(before.values()).count("False")
    found = label(folder)
    assert not np.concatenate((found[0], found[-1], found[:, 0], found[:, -1])).any()


def test_micrometres_of_unknown_pixels_are_an_error(one, capsys):
    assert run_in(one, "--min-area", "5um2") == 1
    assert "a.png: how large its pixels are isn't known, so --min-area 5um2" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("how", ["imagej", "ome", "stack", "png", "option"])
def test_the_pixel_size_goes_where_it_belongs(how, folder):
    path = folder / "in" / ("a.png" if how == "png" else "a.tif")
    known = {"resolution": (4.0, 2.0), "metadata": {"unit": "um", "axes": "YX"}}
    if how in ("imagej", "option"):
        tifffile.imwrite(path, IMAGE, imagej=True, **known)
    elif how == "png":
        data = cv2.imencode(".png", IMAGE)[1].tobytes()
        size = (4_000_000).to_bytes(4, "big") + (2_000_000).to_bytes(4, "big") + b"\1"
        path.write_bytes(data[:33] + png_chunk(b"pHYs", size) + data[33:])
    else:
        sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
        axes = "TYX" if how == "stack" else "YX"
        stack = np.stack([IMAGE] * 2) if how == "stack" else IMAGE
        tifffile.imwrite(path, stack, ome=True, metadata={"axes": axes, **sizes})
    option = ["--pixel-size", "0.1"] if how == "option" else []
    y, x = (0.1, 0.1) if how == "option" else (0.5, 0.25)
    assert run_in(folder, "--results", "all", "--stack", "each", *option) == 0
    whole, record = report_of_one(folder)
    assert record["pixel_size"] == pytest.approx([y, x])
    assert whole["pixel_size"] == (0.1 if how == "option" else None)
    row = cells(folder)[0]
    assert float(row["area_um2"]) == pytest.approx(192 * x * y)
    first = json.loads((folder / "out" / "a.geojson").read_text())["features"][0]
    assert first["properties"]["measurements"]["Area µm^2"] == pytest.approx(192 * x * y)
    with tifffile.TiffFile(folder / "out" / "a_label.tiff") as file:
        found = file.asarray()
        np.testing.assert_array_equal(found, np.stack([LABEL] * 2) if how == "stack" else LABEL)
        assert found.dtype == np.uint16
        if how == "stack":
            assert f'PhysicalSizeX="{x}"' in file.ome_metadata
            assert f'PhysicalSizeY="{y}"' in file.ome_metadata
        else:
            assert file.imagej_metadata["unit"] == "um" and file.imagej_metadata["max"] == 2
            tags = file.pages[0].tags
            assert tags["XResolution"].value[0] / tags["XResolution"].value[1] == pytest.approx(
                1 / x
            )
            assert tags["YResolution"].value[0] / tags["YResolution"].value[1] == pytest.approx(
                1 / y
            )


def test_a_report_of_a_folder_that_was_made_before(one, capsys):
    assert run_in(one, "--results", "table") == 0
    (one / "in" / "a.png").unlink()
    out = str(one / "out")
    assert make_report(parse_report([out])) == 0
    assert (one / "out" / "report.html").exists()
    assert "report.html" in capsys.readouterr().err
    (one / "out" / "run.json").write_text("[]")
    assert make_report(parse_report([out])) == 2
    assert "is not what a run has written" in capsys.readouterr().err
    assert make_report(parse_report([str(one / "in")])) == 2
    assert "run.json: can't be read (No such file" in capsys.readouterr().err


def test_what_is_no_result_is_refused(capsys):
    for given in ("", "tables", "table,,rois", "all,table"):
        with pytest.raises(SystemExit):
            parse(arguments("in", "out", "--results", given))
        assert "all was wanted, or some of table, geojson, rois" in capsys.readouterr().err
    for given in ("-3", "3mm2", "um2", "nan", "1e999"):
        with pytest.raises(SystemExit):
            parse(arguments("in", "out", f"--min-area={given}"))
        assert "pixels (20) or square micrometres (20um2)" in capsys.readouterr().err
    assert str(parse(arguments("in", "out", "--min-area", "20 µm²")).min_area) == "20um2"


def test_given_boxes_are_segmented_instead_of_detected_ones(three, capsys):
    (three / "boxes.csv").write_text(
        "image,x0,y0,x1,y1\na.png,8,8,24,24\na.png,30,2,50,40\nx.png,1,2,3,4\n"
    )
    how = ["--boxes", three / "boxes.csv", "--results", "table"]
    assert run_in(three, *how) == 0
    told = capsys.readouterr().err
    assert "boxes.csv: not among the images: x.png" in told
    assert "boxes.csv: without a box in it: b.png, c.png" in told
    rows = cells(three)
    assert [row["score"] for row in rows] == [""] * len(rows)
    assert label(three)[10, 10] == 1 and not label(three, "b").any()
    before = report(three)[0]["boxes"]
    (three / "boxes.csv").write_text("image,x0,y0,x1,y1\na.png,8,8,24,23\n")
    assert run_in(three, *how, "--resume") == 0
    assert "settled" not in capsys.readouterr().err and report(three)[0]["boxes"] != before


def test_boxes_that_fit_no_image_are_refused(three, capsys):
    (three / "boxes.csv").write_text(
        "image,x0,y0,x1,y1\na.png,1,1,9,9\na.png,56,1,99,9\nb.png,1,1,9,9\nc.png,1,1,9,9\n"
    )
    assert run_in(three, "--boxes", three / "boxes.csv") == 1
    assert "a.png: has 56 x 48 pixels, but box 1 is x0 56, y0 1" in capsys.readouterr().err
    assert run_in(three, "--boxes", three / "boxes.csv", "--stack", "each") == 2
    assert run_in(three, "--boxes", three / "gone.csv") == 2
    assert "gone.csv: can't be read (No such file" in capsys.readouterr().err


def test_lost_results_are_made_again(one, capsys):
    assert run_in(one, "--results", "table,overlay") == 0
    (one / "out" / "a_overlay.jpg").write_bytes(b"")
    (one / "out" / "a_cells.csv").unlink()
    assert run_in(one, "--resume", "--results", "table,overlay") == 0
    assert "settled" not in capsys.readouterr().err and len(cells(one)) == 2


def test_the_report_shows_no_image_in_the_place_of_another(folder):
    for name, level in (("in", 220), ("other", 120)):
        (folder / name).mkdir(exist_ok=True)
        write(folder / name / "a.png", picture(level))
        write(folder / name / f"{name}.png", picture(level))
    assert run_in(folder, "--results", "report") == 0
    assert (
        run(folder / "other" / "other.png", folder / "out", "--resume", "--results", "report") == 0
    )
    page = (folder / "out" / "report.html").read_text()
    assert "is gone" not in page and "another file now" not in page
    write(folder / "in" / "a.png", picture(150))
    assert make_report(parse_report([str(folder / "out")])) == 0
    assert "the image is another file now" in (folder / "out" / "report.html").read_text()


def test_a_result_that_cannot_be_written_is_named(one, capsys):
    (one / "out" / "a_cells.csv").mkdir(parents=True)
    assert run_in(one, "--results", "table") == 1
    told = capsys.readouterr().err
    assert "a_cells.csv can't be written (Is a directory)" in told
    assert "of an earlier run" not in told


@pytest.mark.parametrize(
    ("key", "value"), [("label", None), ("instances", -3), ("height", None), ("warnings", 3)]
)
def test_a_report_of_a_record_that_was_edited_is_refused_or_made(one, key, value, capsys):
    assert run_in(one, "--results", "table") == 0
    path = one / "out" / "run.json"
    whole = json.loads(path.read_text())
    whole["images"][0][key] = value
    path.write_text(json.dumps(whole))
    assert make_report(parse_report([str(one / "out")])) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
