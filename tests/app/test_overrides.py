"""What the user may choose by hand of how images are shown."""

import numpy as np
import pytest
import tifffile

from app.files.open import channel_names, open_image
from app.predict import Predictor
from tests.app.command_line import IMAGE, LABEL, TOY, label, outputs, report_of_one, run_in, write
from tests.app.make_toy_graphs import METHOD
from tests.app.stains import BLANK, NAMES, STAINS, write_ome


@pytest.mark.parametrize("given", ["1", "cd45", " CD45 "])
def test_a_channel_by_number_or_name(given, folder):
    write_ome(folder / "in" / "a.ome.tif")
    assert run_in(folder, "--channels", given) == 0
    whole, image = report_of_one(folder)
    assert whole["channels"] == [1 if given == "1" else given.strip()]
    assert image["look"]["channels"] == [1] and image["look"]["names"] == ["CD45"]
    np.testing.assert_array_equal(label(folder), LABEL)


def test_several_channels_in_the_order_they_are_given(folder):
    write_ome(folder / "in" / "a.ome.tif")
    assert run_in(folder, "--channels", "pan ck,1") == 0
    whole, image = report_of_one(folder)
    assert whole["channels"] == ["pan ck", 1]
    assert image["look"]["channels"] == [2, 1] and image["look"]["names"] == ["Pan CK", "CD45"]


@pytest.mark.parametrize(("given", "number"), [("488", 1), ("405", 0), ("1", 1)])
def test_a_channel_whose_name_is_a_number(given, number, folder):
    write_ome(folder / "in" / "a.ome.tif", ["405", "488", "1"])
    assert run_in(folder, "--channels", given) == 0
    image = report_of_one(folder)[1]
    assert image["look"]["channels"] == [number]
    told = "channel 1 is taken by its number, not the one of this name, which is 2"
    assert image["warnings"] == [told] * (given == "1")


def test_channels_without_names(folder):
    write(folder / "in" / "a.png", np.dstack([BLANK, IMAGE, BLANK]))
    assert run_in(folder, "--channels", "1") == 0
    assert report_of_one(folder)[1]["look"]["channels"] == [1]
    assert "names" not in report_of_one(folder)[1]["look"]
    np.testing.assert_array_equal(label(folder), LABEL)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("3", "no channel 3; it has 3 channels: 0 DAPI, 1 CD45, 2 Pan CK; give"),
        ("CD4", "no channel CD4; it has 3 channels: 0 DAPI, 1 CD45, 2 Pan CK; give"),
        ("0,dapi", "channels 0,dapi name a channel twice; it has 3 channels: 0 DAPI"),
    ],
)
def test_a_channel_that_is_not_there_fails_its_image_alone(given, said, folder, capsys):
    write_ome(folder / "in" / "a.ome.tif")
    write_ome(folder / "in" / "b.ome.tif", [*NAMES, "CD4"], np.concatenate([STAINS, STAINS[:1]]))
    failed = run_in(folder, "--channels", given)
    error = capsys.readouterr().err
    assert failed == 1 and "a.ome.tif: " in error and said in error
    assert outputs(folder / "out") == ["b_label.tiff"] * ("dapi" not in given) + ["run.json"]


@pytest.mark.parametrize(
    ("image", "said"),
    [(IMAGE, "1 channel without names; give 0"), (np.dstack([IMAGE] * 3), "numbers from 0 to 2")],
)
def test_names_are_wanted_of_a_file_that_has_none(image, said, folder, capsys):
    write(folder / "in" / "a.png", image)
    assert run_in(folder, "--channels", "DAPI") == 1
    assert said in capsys.readouterr().err


def test_a_name_of_several_channels_is_not_guessed(folder, capsys):
    write_ome(folder / "in" / "a.ome.tif", ["DAPI", "CD45", "DAPI"])
    assert run_in(folder, "--channels", "dapi") == 1
    assert "2 channels dapi" in capsys.readouterr().err


def test_names_are_those_of_the_largest_image(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for image, names in ((STAINS[:, :9, :9], ["a", "b", "c"]), (STAINS, NAMES)):
            metadata = {"axes": "CYX", "Channel": {"Name": names}}
            writer.write(image, metadata=metadata, photometric="minisblack")
    with open_image(tmp_path / "a.ome.tif") as image:
        assert channel_names(image) == tuple(NAMES)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["DAPI", "CD45\nand more", "Pan\a CK"], tuple(NAMES)),
        (["DAPI"], ()),
        (["", " ", ""], ()),
        (["", "CD45", ""], ("", "CD45", "")),
    ],
)
def test_labels_of_imagej_are_names_where_each_channel_has_one(labels, names, tmp_path):
    metadata = {"axes": "CYX", "Labels": labels}
    tifffile.imwrite(tmp_path / "a.tif", STAINS, imagej=True, metadata=metadata)
    with open_image(tmp_path / "a.tif") as image:
        assert channel_names(image) == names


def test_no_names_of_stacks_and_of_colour_pictures(tmp_path):
    labels = {"axes": "ZYX", "Labels": NAMES}
    tifffile.imwrite(tmp_path / "z.tif", STAINS, imagej=True, metadata=labels)
    picture = np.dstack([IMAGE] * 3)
    one = {"axes": "YXS", "Channel": {"Name": ["RGB"]}}
    tifffile.imwrite(tmp_path / "rgb.ome.tif", picture, photometric="rgb", metadata=one)
    for name in ("z.tif", "rgb.ome.tif"):
        with open_image(tmp_path / name, "max") as image:
            assert channel_names(image) == ()


def test_limits_by_percentiles(folder):
    write(folder / "in" / "a.png")
    assert run_in(folder, "--limits", "0", "99.5") == 0
    whole, image = report_of_one(folder)
    assert whole["percentiles"] == [0.0, 99.5] and whole["levels"] is None
    assert image["look"]["limits"] == [[20.0, 220.0]]


def test_limits_by_grey_levels(folder):
    write(folder / "in" / "a.png")
    assert run_in(folder, "--limits", "-5.5g", "300g") == 0
    whole, image = report_of_one(folder)
    assert whole["levels"] == [-5.5, 300.0] and whole["percentiles"] is None
    assert image["look"]["limits"] == [[-5.5, 300.0]]
    np.testing.assert_array_equal(label(folder), LABEL)
    assert run_in(folder, "--limits", "221g", "300g") == 0
    assert not label(folder).any()


def test_a_magnification(folder):
    write(folder / "in" / "a.png")
    assert run_in(folder, "--magnification", "2") == 0
    whole, image = report_of_one(folder)
    assert whole["magnification"] == image["look"]["magnification"] == 2.0


def test_a_diameter(folder):
    write(folder / "in" / "a.png")
    assert run_in(folder, "--diameter", "27") == 0
    whole, image = report_of_one(folder)
    assert whole["diameter"] == 27.0
    assert image["look"]["magnification"] == pytest.approx(METHOD.usual_diameter / 27, rel=1e-8)


@pytest.mark.parametrize("size", [("--magnification", "0.0625"), ("--diameter", "100000")])
def test_an_image_may_be_shrunk_to_nothing(size, folder):
    write(folder / "in" / "a.png")
    assert run_in(folder, *size) == 0
    assert label(folder).shape == LABEL.shape


def test_what_would_become_too_large_is_refused(folder, capsys):
    tifffile.imwrite(folder / "in" / "a.tif", shape=(30_000, 40_000), dtype=np.uint8)
    write(folder / "in" / "b.png")
    assert run_in(folder, "--magnification", "2") == 1
    said = "a.tif: would become 4800 megapixels at 2 times its size, 2147 at most are done; give"
    assert said in capsys.readouterr().err
    assert outputs(folder / "out") == ["b_label.tiff", "run.json"]


def test_resume_starts_over_when_the_way_has_changed(folder, capsys):
    write_ome(folder / "in" / "a.ome.tif")
    ways = [
        (),
        ("--channels", "1"),
        ("--channels", "CD45"),
        ("--limits", "1", "99"),
        ("--limits", "1g", "99g"),
        ("--diameter", "20"),
        ("--magnification", "2"),
    ]
    for way in ways:
        assert run_in(folder, "--resume", *way) == 0
        assert "settled" not in capsys.readouterr().err
        assert run_in(folder, "--resume", *way) == 0
        assert "1 settled already" in capsys.readouterr().err
        assert report_of_one(folder)[1]["status"] == "done"


def test_channels_by_hand_from_python(folder):
    write(folder / "in" / "a.png", np.dstack([BLANK, IMAGE, BLANK]))
    predictor = Predictor(TOY, "cpu", 1, channels=(1,))
    outcome = predictor.predict_file(folder / "in" / "a.png", folder / "a_label.tiff")
    assert outcome.choice.look.channels == (1,) and outcome.choice.look == outcome.choice.usual
