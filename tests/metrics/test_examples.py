"""The examples in the docstrings of ``earwitness.metrics`` run, and every public function has one."""

import doctest
import inspect
from importlib import import_module
from pathlib import Path

import pytest

from earwitness import metrics
from earwitness.errors import EarwitnessError
from earwitness.metrics import fluency, sentences, spice

MODULES = [path.stem for path in sorted(Path(metrics.__file__).parent.glob("*.py")) if path.stem != "__init__"]
SUPPORT = {"java", "models", "pairs"}  # modules for the other modules
TOOLS = {
    "spice.spice": spice.find,
    **{f"sentences.{name}": sentences.find for name in ("label", "similarity", "embeddings")},
    **{f"fluency.{name}": fluency.find for name in ("label", "probabilities")},
}
EXAMPLES = [
    example
    for name in MODULES
    for example in doctest.DocTestFinder(exclude_empty=True).find(import_module(f"earwitness.metrics.{name}"))
    if example.examples
]


def short(name):
    return name.removeprefix("earwitness.metrics.")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: short(example.name))
def test_an_example_gives_what_it_says(example, tmp_path, monkeypatch):
    if tool := TOOLS.get(short(example.name)):
        try:
            tool()
        except EarwitnessError as error:
            pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    failures = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=failures.append)
    assert not failures, "".join(failures)


def test_every_public_function_has_an_example():
    with_example = {short(example.name) for example in EXAMPLES}
    public = {
        f"{name}.{function}"
        for name in set(MODULES) - SUPPORT
        for function, found in inspect.getmembers(import_module(f"earwitness.metrics.{name}"), inspect.isfunction)
        if not function.startswith("_") and found.__module__ == f"earwitness.metrics.{name}"
    }
    assert sorted(public - with_example) == []
