"""Jars arrive from a Maven repository whole and right, or are named."""

import hashlib
import random
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from earwitness.errors import EarwitnessError
from earwitness.fetch import maven
from earwitness.fetch.maven import Jar, fetch
from earwitness.files import read_json
from earwitness.lock import hold

BODIES = {"small": random.Random(0).randbytes(1_000), "large": random.Random(1).randbytes(300_000)}
PATHS = {"small": "org/some/small/1.2/small-1.2.jar", "large": "org/some/large/3/large-3-models.jar"}


def jar(name, coordinates):
    return Jar(Path(PATHS[name]).name, coordinates, hashlib.sha256(BODIES[name]).hexdigest(), len(BODIES[name]))


JARS = (jar("small", "org.some:small:1.2"), jar("large", "org.some:large:3:models"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where jars go, on a machine where mvn has brought none."""
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    return tmp_path / "jars"


@pytest.fixture
def repository(site):
    for name, body in BODIES.items():
        site.serve(f"/maven/{PATHS[name]}", body)
    return site


def refused(folder, repository, jars=JARS):
    with pytest.raises(EarwitnessError) as caught:
        fetch(folder, f"{repository.address}/maven", jars)
    assert not (folder / "jars.json").exists()
    return str(caught.value)


def is_whole(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["jars.json", "large-3-models.jar", "small-1.2.jar"]
    assert (folder / "small-1.2.jar").read_bytes() == BODIES["small"]
    assert (folder / "large-3-models.jar").read_bytes() == BODIES["large"]
    return True


@pytest.mark.parametrize("end", ["/maven", "/maven/"])
def test_jars_arrive_by_their_coordinates_and_are_written_down(repository, folder, end, capsys):
    fetch(folder, repository.address + end, JARS)
    assert is_whole(folder) and "2 jars are in" in capsys.readouterr().err
    told = read_json(folder / "jars.json")["jars"]
    assert [(entry["name"], entry["coordinates"]) for entry in told] == [(it.name, it.coordinates) for it in JARS]
    assert [entry["sha256"] for entry in told] == [it.sha256 for it in JARS]
    assert not (folder.parent / "m2").exists()


def test_what_is_right_is_kept_and_what_is_not_is_replaced(repository, folder, capsys):
    folder.mkdir()
    (folder / "small-1.2.jar").write_bytes(BODIES["small"])
    (folder / "large-3-models.jar").write_bytes(BODIES["large"][:-1])
    fetch(folder, f"{repository.address}/maven", JARS)
    assert is_whole(folder) and [path for path, _ in repository.requests] == [f"/maven/{PATHS['large']}"]
    assert "large-3-models.jar is not the published file" in capsys.readouterr().err
    fetch(folder, f"{repository.address}/maven", JARS)
    assert len(repository.requests) == 1


def test_what_mvn_has_is_copied_when_it_is_right(repository, folder):
    for name, body in (("small", b"other"), ("large", BODIES["large"])):
        place = folder.parent / "m2" / PATHS[name]
        place.parent.mkdir(parents=True)
        place.write_bytes(body)
    fetch(folder, f"{repository.address}/maven", JARS)
    assert is_whole(folder) and [path for path, _ in repository.requests] == [f"/maven/{PATHS['small']}"]
    assert (folder.parent / "m2" / PATHS["small"]).read_bytes() == b"other"


@pytest.mark.parametrize("kind", ["path", "file://"])
def test_a_folder_may_be_the_repository(folder, tmp_path, kind):
    for name, body in BODIES.items():
        place = tmp_path / "mirror" / PATHS[name]
        place.parent.mkdir(parents=True)
        place.write_bytes(body)
    fetch(folder, ("" if kind == "path" else kind) + str(tmp_path / "mirror"), JARS)
    assert is_whole(folder)


def test_a_wrong_jar_is_removed_and_named_with_both_digests(repository, folder):
    wrong = BODIES["large"][:-1] + b"x"
    repository.serve(f"/maven/{PATHS['large']}", wrong)
    told = refused(folder, repository)
    assert all(words in told for words in ("large-3-models.jar", JARS[1].sha256, hashlib.sha256(wrong).hexdigest()))
    assert sorted(path.name for path in folder.iterdir()) == ["small-1.2.jar"]


def test_what_is_missing_is_listed_to_be_put_there_by_hand(repository, folder):
    repository.serve(f"/maven/{PATHS['small']}", status=404)
    told = refused(folder, repository).splitlines()
    assert "the server answered 404" in told[0] and str(folder) in told[1]
    assert told[2:4] == [
        "  - small-1.2.jar (org.some:small:1.2, 1,000 bytes)",
        "  - large-3-models.jar (org.some:large:3:models, 300,000 bytes)",
    ]
    (folder / "small-1.2.jar").write_bytes(BODIES["small"])
    fetch(folder, f"{repository.address}/maven", JARS)
    assert is_whole(folder)


def test_a_download_that_broke_off_is_gone_on_with_by_the_next_call(repository, folder):
    repository.serve(f"/maven/{PATHS['large']}", BODIES["large"], cuts=[100_000, 0, 0, 0, 0, 0])
    assert "100000 of 300000 bytes are there" in refused(folder, repository)
    assert not (folder / "large-3-models.jar").exists()
    repository.files[f"/maven/{PATHS['large']}"].cuts.clear()
    before = len(repository.requests)
    fetch(folder, f"{repository.address}/maven", JARS)
    assert is_whole(folder) and repository.ranges()[before:] == [100_000]


def test_without_the_client_the_jars_are_named_too(repository, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    told = refused(folder, repository)
    assert "package jgo" in told and "large-3-models.jar (org.some:large:3:models" in told


def test_one_at_a_time(repository, folder):
    with hold(folder / ".lock"):
        assert "fetched by another process" in refused(folder, repository)


def test_the_jars_of_spice_lie_in_the_public_repository_under_their_names():
    for it in maven.SPICE:
        cached, address = maven._places(it, None)
        assert urlsplit(address).scheme == "https"
        assert Path(urlsplit(address).path).name == cached.name == it.name
