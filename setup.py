"""Writes the commit, and how to cite, into what is built; all else stands in pyproject.toml."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

_ROOT = Path(__file__).parent
_VERSION = runpy.run_path(str(_ROOT / "app" / "version.py"))


def _stamp(package: Path) -> None:
    commit = _VERSION["commit"](_ROOT / "app")
    if commit:
        (package / _VERSION["STAMP"]).write_text(commit + "\n")


class _Build(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # which installs the checkout itself
            _stamp(Path(self.build_lib, "vsm"))
            shutil.copy(_ROOT / "CITATION.cff", Path(self.build_lib, "vsm"))  # for the report


class _Source(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        _stamp(Path(base_dir, "app"))


setup(cmdclass={"build_py": _Build, "sdist": _Source})
