"""Imports run one way, read from the source; and the predictor needs nothing of training.

running -> results -> the method -> files -> files/arrays.py, and app/ knows nothing of training/.
"""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# From the lowest up: what is in one imports none of those after it. The command line is on top.
ROOMS = ("app.files.arrays", "app.files", "app", "app.results", "app.running", "app.__main__")
LIBRARIES = {"numpy", "cv2", "tifffile", "imagecodecs", "tqdm", "onnxruntime"}
FOR_RESULTS = {"roifile", "orjson"}
FORBIDDEN = ("torch", "torchvision", "onnx", "scipy", "skimage", "matplotlib", "training")


def imports(source: str, module: str, package: bool) -> set[str]:
    """Names of all modules that a module imports, wherever in it; ``.a`` as what it stands for."""
    parts = module.split(".") if package else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # "from . import x" may import a module x, or a name of the package.
            found |= {base} if node.module else {f"{base}.{alias.name}" for alias in node.names}
    return found


def modules(folder: str) -> dict[str, tuple[Path, set[str]]]:
    """Of each module in a folder: its file and what it imports."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        package = path.name == "__init__.py"
        name = name.removesuffix(".__init__")
        found[name] = path, imports(path.read_text(), name, package)
    return found


def room(module: str) -> int:
    """Place in ROOMS of the one that a module of app/ is in: the closest that names it."""
    names = [name for name in ROOMS if module == name or module.startswith(f"{name}.")]
    return ROOMS.index(max(names, key=len))


APP, TRAINING, TESTS = modules("app"), modules("training"), modules("tests/app")


def top(module: str) -> str:
    return module.partition(".")[0]


def test_the_reader_of_imports_sees_them_all():
    source = "import a.b, c\nfrom ..d import e\nfrom . import f\ndef g():\n    from .h import i\n"
    assert imports(source, "p.q.r", package=False) == {"a.b", "c", "p.d", "p.q.f", "p.q.h"}
    assert imports(source, "p.q", package=True) == {"a.b", "c", "p.d", "p.q.f", "p.q.h"}
    assert len(APP) > 25 and any("app.predict" in found for _, found in APP.values())


@pytest.mark.parametrize("module", APP)
def test_no_room_imports_from_one_above_it(module):
    own = {name for name in APP[module][1] if top(name) == "app"}
    assert {name for name in own if room(name) > room(module)} == set()


def test_no_module_of_app_imports_itself_by_way_of_others():
    graph = {module: found & APP.keys() for module, (_, found) in APP.items()}
    assert list(TopologicalSorter(graph).static_order())  # or it raises CycleError


@pytest.mark.parametrize("module", APP)
def test_app_imports_relatively_and_its_own_libraries_alone(module):
    path, found = APP[module]
    others = {top(name) for name in found} - sys.stdlib_module_names - {"app"}
    assert others <= LIBRARIES | (FOR_RESULTS if module.startswith("app.results") else set())
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert "app" not in {top(alias.name) for alias in node.names}, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert top(str(node.module)) != "app", ast.unparse(node)


def test_training_imports_the_method_and_files_but_not_running_or_results():
    above = ("app.running", "app.results", "app.__main__")
    found = {m: [n for n in names if n.startswith(above)] for m, (_, names) in TRAINING.items()}
    assert {module for module, names in found.items() if names} == set()
    assert not any(top(name) == "tests" for _, names in TRAINING.values() for name in names)


def test_the_predictors_tests_need_no_pytorch():
    """Directly or by way of training/, of which they may use the metric."""
    waiting = {name for _, names in TESTS.values() for name in names}
    seen = set()
    while waiting:
        module = waiting.pop()
        if module not in seen and top(module) == "training":
            waiting |= TRAINING[module][1]
        seen.add(module)
    assert {"training.metric", "scipy.sparse", "numpy"} <= seen
    assert {top(name) for name in seen}.isdisjoint({"torch", "torchvision"})


def test_the_predictor_loads_nothing_of_training():
    code = (
        "import sys, app.__main__, app.predict;"
        f"print([name for name in {FORBIDDEN} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
