"""Where the tests find the files that they read."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "data"  # reference numbers, shipped with the tests
SHARED_DATA = ROOT.parent / "shared" / "data"  # recordings and tables, beside the checkout where there are any
JARS = SHARED_DATA / "spice"
CAPTION_GOLDEN = ROOT.parent / "shared" / "reference" / "golden"  # holds Clotho's captions, so it is not shipped


def shared(*parts: str) -> Path:
    """The path of a file or folder of the shared data; skips the test where it is absent."""
    path = SHARED_DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path
