"""Broken files: each is an image or an ImageError; nothing crashes, hangs or takes much memory.

A few of each kind; thousands are read by tests/system/test_fuzz.py.
"""

from itertools import pairwise

import pytest

from tests.app.broken_files import assert_read_or_refused
from tests.app.guarded_reading import read_guarded, with_trap
from tests.app.image_kinds import kinds


def test_a_few_broken_files_of_each_kind_are_images_or_refused(tmp_path):
    assert_read_or_refused(tmp_path, 2)


@pytest.mark.parametrize(
    ("event", "what", "told"),
    [
        ("if 'b.png' in line: signal.raise_signal(signal.SIGSEGV)", "died", "SIGSEGV: Fatal"),
        ("while 'b.png' in line: pass", "died", "SIGPROF: "),
        ("if 'b.png' in line: b'x' * 2**27", "memory", "(took 134 MB)"),
    ],
    ids=["crash", "hang", "memory"],
)
def test_what_one_file_does_is_noticed_and_the_rest_goes_on(event, what, told, tmp_path):
    whole = next(kind for kind in kinds() if kind.name == "png_grey8.png")
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(whole.data)
    # Two seconds of the processor: what is not to end by the clock takes a tenth of them at most,
    # the pages of 128 MiB too, where memory is slow.
    outcomes = read_guarded(sorted(tmp_path.iterdir()), 2.0, 2**26, with_trap(event))
    assert [outcome.what for outcome in outcomes] == ["image", what, "image"]
    assert told in outcomes[1].text
    assert what != "died" or "most recent call first" in outcomes[1].text
    assert all(b.path > a.path for a, b in pairwise(outcomes))
