"""docs/extending.md shows the toys as they are."""

from __future__ import annotations

import re

import pytest

from .conftest import HERE, ROOT, TOYS, registry_lines

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
MODULES = {path.relative_to(TOYS).as_posix(): path.read_text(encoding="utf-8") for path in TOYS.rglob("*.py")}
LINES = [f"{line}\n" for _, line in registry_lines()]
ENTRIES = (HERE / "toys.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(("language", "code"), BLOCKS)
def test_blocks_are_parts_of_the_toys(language, code):
    sources = {"python": [*MODULES.values(), *LINES], "yaml": [ENTRIES]}[language]
    assert any(code in source for source in sources), code


def test_everything_that_runs_is_shown():
    shown = "".join(code for _, code in BLOCKS)
    assert [line for line in LINES if line not in shown] == []
    names = re.findall(r"^  ([\w-]+):", ENTRIES, flags=re.MULTILINE)
    assert [name for name in names if f"\n  {name}:" not in f"\n{shown}"] == []
    assert [name for name, text in MODULES.items() if text and not any(code in text for _, code in BLOCKS)] == []


def test_files_that_the_page_names_are_there():
    for name in re.findall(r"`src/earwitness/(\S+?\.py)`", PAGE):
        assert name in MODULES or (ROOT / "src/earwitness" / name).is_file(), name
