"""Configurations: wrong ones are refused, those here are what their texts say."""

import dataclasses
from pathlib import Path

import pytest

from app.settings import WEIGHTS, SettingsError, load_settings
from training.config import load_config

CONFIGS = Path("training/configs").resolve()
CHAIN = CONFIGS / "chain.toml"


def test_the_numbers_of_the_shipped_weights_are_those_of_their_configuration():
    # Own weights, exported with a configuration that extends it, begin with the same.
    assert load_config(CONFIGS / "shipped.toml").method == load_settings(WEIGHTS).method


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crop_size = 64", "crop_size = 64\ncolour = 1", "unknown key 'method.colour'"),
        ("mosaic = 0.4", "", "'stage.first.mosaic' is missing"),
        ("steps = 3500", 'steps = "many"', "'stage.segmenter.steps' is 'many'"),
        ("[segmenter]", "[segmentor]", "unknown key 'segmentor'"),
        ('start = "first"', 'start = "last"', "an earlier detector stage was wanted"),
        ("steps = 3500", "steps = 0", "steps or epochs must be 0, and not both"),
        ('model = "segmenter"', 'model = "oracle"', "model is 'oracle'"),
        ("batch = 16", "batch = 0", "'stage.first.batch' is 0; a number from 1 or more"),
        ("workers = 2", "workers = -1", "'stage.first.workers' is -1; a number from 0"),
        ("mosaic = 0.4", "mosaic = 4", "'stage.first.mosaic' is 4; a number from 0 to 1"),
        ("crop = 512", "crop = 300", "stage.first.crop is 300; a multiple of 32"),
        ('size = "s"', 'size = "huge"', "stage.first.size is 'huge'; one of nano, tiny, s"),
        ("\nscale = [", "\nscale = [-1, 1] # [", "'stage.first.scale' is -1; a number from"),
        (
            "\nscale = [",
            "\nscale = [2, 1] # [",
            "first.scale is .2, 1.; the lowest and the highest",
        ),
        ("\nscale = [", "\nscale = [1] # [", "first.scale is .1.; the lowest and the highest"),
        ("[stage.first]", "[[stage.first]]", "'stage' is .*; tables .stage.NAME. were"),
        ("[method]", "extends = 5\n[method]", "'extends' is 5; the path of another file"),
        ("[method]", "extends = 'wrong.toml'\n[method]", "'extends' is 'wrong.toml'; the path of"),
        ("[method]", "extends = 'folder'\n[method]", "folder: can't be read"),
        ("[resources]", "[[resources]]", "'resources' is .*; a table was wanted"),
        ("[method]", "[method", "wrong.toml: not valid TOML"),
        ("seed = 1", "seed = -1", "'stage.first.seed' is -1; a number from 0"),
        ("factors = {}", "factors = {dsb = '3'}", "factors.dsb is '3'; a number from 0 on was"),
        ("factors = {}", "factors = {dsb = -1}", "factors.dsb is -1; a number from 0 on was"),
        ('"bfloat16"', '"half"', "stage.first.precision is 'half'; wanted bfloat16 or float32"),
    ],
)
def test_wrong_configurations_are_refused(old, new, message, tmp_path):
    text = CHAIN.read_text().replace('extends = "base.toml"\n', "")
    text = (CONFIGS / "base.toml").read_text() + text  # in one file, so that each part can be wrong
    assert old in text
    (tmp_path / "wrong.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(SettingsError, match=message):
        load_config(tmp_path / "wrong.toml")


def test_the_papers_configuration_is_the_papers():
    config = load_config(CONFIGS / "paper.toml")
    assert list(config.stages) == ["pretrain", "preliminary", "final", "segmenter"]
    final, segmenter = config.stages["final"], config.stages["segmenter"]
    assert final.start == "pretrain" and final.epochs == 15 and final.size == "x"
    assert final.validation_steps == 0  # after every epoch
    assert final.unlabelled == pytest.approx(1 / 6)
    assert final.learning_rate == pytest.approx(0.005 / 64 * final.batch)
    assert segmenter.learning_rate == pytest.approx(6e-5 / 16 * segmenter.batch)
    assert (config.method.window, final.crop, final.window_stride) == (1536, 1536, 768)


def test_a_file_that_extends_another_has_its_own_stages(tmp_path):
    text = f'extends = "{CHAIN}"\n[segmenter]\nbatch = 8\n'
    text += '[stage.short]\nmodel = "segmenter"\nsteps = 7\nlearning_rate = 2e-3\n'
    (tmp_path / "short.toml").write_text(text)
    short, chain = load_config(tmp_path / "short.toml"), load_config(CHAIN)
    assert short.method == chain.method and list(short.stages) == ["short"]
    segmenter = dataclasses.replace(chain.stages["segmenter"], batch=8, steps=7)
    assert short.stages["short"] == segmenter


@pytest.mark.parametrize("name", ["base", "shipped", "chain", "controls", "ablations"])
def test_small_machines_have_one_method(name):
    """Stages of different files end in the same weights, so what prediction shares is the same."""
    config, base = load_config(CONFIGS / f"{name}.toml"), load_config(CONFIGS / "base.toml")
    assert (config.method, config.resources) == (base.method, base.resources)
    assert bool(config.stages) == (name != "base")


def test_the_examples_of_training_on_own_images_have_the_samples_of_the_shipped_weights(tmp_path):
    parts = Path("docs/train-your-own.md").read_text().split("```toml\n")[1:]
    example, more = (part.split("```")[0] for part in parts)
    text = example.replace("../../training/configs", str(CONFIGS))
    (tmp_path / "own.toml").write_text(text)
    (tmp_path / "more.toml").write_text(text + more)
    own, both = (load_config(tmp_path / f"{n}.toml").stages["own"] for n in ("own", "more"))
    long = load_config(CONFIGS / "shipped.toml").stages["long"]
    for key in ("composites", "artefacts", "cell_size_share", "factors"):
        assert getattr(own, key) == getattr(long, key) != 0
    assert not own.start and not own.unlabelled and not own.ignored  # so no other file is needed
    assert both == dataclasses.replace(own, factors={**long.factors, "own": 3})
