"""The files for Kubernetes, by its own schemas; unknown keys are refused."""

from pathlib import Path

import pytest

kubernetes = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
yaml = pytest.importorskip("yaml", reason="pip install kubernetes-validate")  # comes with it

FILES = tuple(sorted(Path("cluster/kubernetes").glob("*.yaml")))
OLDEST = "1.29"  # in which no part of the Job has to be switched on


@pytest.mark.parametrize("version", [OLDEST, "newest"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_valid(path, version):
    version = kubernetes.latest_version() if version == "newest" else version
    kubernetes.validate(yaml.safe_load(path.read_text()), version, strict=True)


def test_what_is_wrong_is_found():
    job = yaml.safe_load(FILES[0].read_text())
    job["spec"]["backoffLimitPerIndices"] = job["spec"].pop("backoffLimitPerIndex")
    with pytest.raises(kubernetes.ValidationError, match="backoffLimitPerIndices"):
        kubernetes.validate(job, OLDEST, strict=True)
