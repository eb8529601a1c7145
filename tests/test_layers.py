"""The library is built from the ground up: a module imports from groups with a lower or the same number only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src" / "earwitness"
GROUPS = (
    ("errors", "files", "lock", "options", "registry", "config", "expand"),
    ("audio", "fetch", "metrics"),
    ("corpora", "leaks"),
    ("extractors", "features", "text", "clap"),
    ("nn", "prediction"),
    ("systems", "training"),
    ("evaluation",),
    ("tracking", "report", "serving", "doctor"),
    ("cli",),
)
GROUP = {name: number for number, names in enumerate(GROUPS, start=1) for name in names}
MODULES = {path.relative_to(SOURCES).as_posix(): path for path in sorted(SOURCES.rglob("*.py"))}


def part_of(module):
    """``earwitness.corpora.layouts.mini`` -> ``corpora``; what is not ours, and the package itself, is None."""
    root, *rest = module.split(".")
    return rest[0] if root == "earwitness" and rest else None


def imported(source):
    """The parts of the library that a module's source imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (part_of(name.name) for name in names)
            case ast.ImportFrom(module="earwitness", level=0, names=names):
                yield from (name.name for name in names if name.name in GROUP)
            case ast.ImportFrom(module=module, level=0):
                yield part_of(module)
            case ast.ImportFrom():
                raise AssertionError("relative imports hide where they lead")


def test_every_module_belongs_to_a_group():
    names = {name.split("/")[0].removesuffix(".py") for name in MODULES} - {"__init__", "__main__"}
    assert names <= set(GROUP)


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ("__init__.py", "__main__.py")])
def test_a_module_imports_from_its_own_group_or_from_below(name):
    own = GROUP[name.split("/")[0].removesuffix(".py")]
    above = {part for part in imported(MODULES[name].read_text(encoding="utf-8")) if part and GROUP[part] > own}
    assert not above


def test_imports_are_found():
    lines = ["import earwitness.cli", "from earwitness import config, __version__", "def f():"]
    assert set(imported("\n".join([*lines, "    from earwitness.nn import x"]))) == {"cli", "config", "nn"}


def loaded_by(module):
    """Names of the top-level packages that importing ``module`` loads."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


METRICS = [path.stem for path in sorted((SOURCES / "metrics").glob("*.py")) if path.stem != "__init__"]
HEAVY = {"torch", "pandas", "scipy", "librosa", "lightning", "mlflow", "gensim", "h5py", "pydantic", "transformers"}


@pytest.mark.parametrize("module", METRICS)
def test_metrics_load_nothing_heavier_than_numpy(module):
    assert not HEAVY & loaded_by(f"earwitness.metrics.{module}")


def test_the_configuration_is_checked_without_loading_the_networks():
    code = "import sys; from earwitness.config import model; model(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning", "librosa", "gensim", "mlflow"} & set(done.stdout.split())
