"""Files as people have them, and the command that scores them."""

import json

import pytest

from earwitness.cli.main import main
from tests.places import shared as path_of_shared


@pytest.fixture
def write(tmp_path):
    """Write a file from text, bytes or what becomes json, and give its path."""

    def write(name, content):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            path.write_bytes(text.encode("utf-8"))
        return path

    return write


@pytest.fixture
def score(capsys):
    """Run ``earwitness score``; its exit code, and what it said on the two streams."""

    def score(*arguments):
        code = main(["score", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return score


@pytest.fixture
def scored(score):
    """Run ``earwitness score ... --json`` and give the content, after making sure that it went well."""

    def scored(*arguments):
        code, out, err = score(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return scored


@pytest.fixture
def shared():
    """The path of a file of the shared data; the test is skipped where it is not there."""
    return path_of_shared
