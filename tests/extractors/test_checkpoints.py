"""Checkpoint files fit their network entry for entry, or each that does not is named."""

import argparse
import copy
import hashlib
import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from torch import nn

from earwitness.errors import EarwitnessError
from earwitness.extractors import published as module
from earwitness.extractors.checkpoints import fetch, fit, read, require_kind, untrained
from earwitness.extractors.published import PublishedWeights, published, state
from earwitness.fetch import download
from earwitness.files import sha256
from earwitness.registry import load
from tests.places import GOLDEN

VECTORS = "word2vec-google-news-300.gz"  # of words, rather than of a network; its md5 is published
BY_HAND = "cnn14-bert.pt"  # no address of it is known


class Toy(nn.Module):
    """A front end, a convolution with BatchNorm, and a head."""

    def __init__(self):
        super().__init__()
        self.front = nn.Module()
        self.front.register_buffer("window", torch.hann_window(4))
        self.conv = nn.Conv2d(1, 2, 3)
        self.bn = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.bn(self.conv(x)).amax(dim=(2, 3)))


@pytest.fixture
def network():
    return Toy()


@pytest.fixture
def entries():
    """What fits the network, of other values than it has."""
    other = Toy()
    untrained(other, 5)
    with torch.no_grad():
        other.bn.weight.mul_(3)
        other.front.window.add_(1)
    return other.state_dict()


@pytest.fixture
def saved(tmp_path):
    def save(content, name="some.pth", **options):
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return save


def unfit(network, entries, **options):
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(EarwitnessError) as caught:
        fit(network, entries, "some.pth", **options)
    assert same(network.state_dict(), before)
    return str(caught.value)


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("key", [None, "model", "model_state_dict"])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_read_from_where_the_file_has_them(entries, saved, key, zipped):
    beside = {"iteration": 3, "sampler": {"indexes": np.arange(3), "pointer": np.int64(1), "queue": [np.float32(2)]}}
    content = entries if key is None else {key: entries} | beside
    assert same(read(saved(content, _use_new_zipfile_serialization=zipped), key), entries)


@pytest.mark.parametrize("kind", ["<f4", "<f8", ">f8", "<i8"])
def test_numpy_arrays_become_tensors(saved, kind):
    vectors = np.arange(12).reshape(3, 4).astype(kind)
    found = read(saved({"vectors": vectors, "means": np.float64(2)}), None)
    assert np.array_equal(found["vectors"].numpy(), vectors) and found["means"] == 2


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_named_with_its_size(entries, saved, kept, zipped):
    path = saved(entries, _use_new_zipfile_serialization=zipped)
    body = path.read_bytes()
    path.write_bytes(body[: round(kept * len(body)) if isinstance(kept, float) else kept])
    with pytest.raises(EarwitnessError, match=r"some\.pth .* truncated \([\d,]+ bytes\)"):
        read(path, None)


def test_a_truncated_public_file_is_described(tmp_path):
    path = tmp_path / "Cnn10_mAP=0.380.pth"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(EarwitnessError, match=r"truncated \(4 bytes\).*25,237,595 bytes.*bfb1f1f9968938fa"):
        read(path, "model")


def test_a_web_page_is_recognised(tmp_path):
    path = tmp_path / "effb2.pt"
    path.write_bytes(b"\xef\xbb\xbf \n<html>not found</html>")
    with pytest.raises(EarwitnessError, match=r"effb2\.pt is a web page"):
        read(path, None)


@pytest.mark.parametrize(
    ("name", "message"), [("effb2.pt", "Put `effb2.pt`.*releases/download"), ("own.pt", "Put the")]
)
def test_an_absent_file_is_named(tmp_path, name, message):
    for function in (lambda path: read(path, None), state):
        with pytest.raises(EarwitnessError, match=rf"{name} does not exist\. {message}"):
            function(tmp_path / name)


class Runs:
    """Would run when it is unpickled."""

    def __reduce__(self):
        return os.getcwd, ()


@pytest.mark.parametrize(
    ("value", "name"), [(argparse.Namespace(a=1), r"argparse\.Namespace"), (Runs(), r"posix\.getcwd")]
)
def test_a_file_with_objects_is_never_loaded(entries, saved, value, name):
    with pytest.raises(EarwitnessError, match=rf"some\.pth .* \({name}\).* never loaded"):
        read(saved({"model": entries, "arguments": value}), "model")


def test_arrays_of_objects_are_never_loaded(saved):
    with pytest.raises(EarwitnessError, match=r"some\.pth "):
        read(saved({"a": np.array([{}, "b"], dtype=object)}), None)


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        ({"state_dict": {}, "epoch": 1}, "model", "under `model`. Its entries: state_dict, epoch."),
        ({"model": torch.zeros(2)}, "model", "under `model`. Its entries: model."),
        ({"model": {"a": torch.zeros(2), "b": "x", "c": 1}}, "model", "tensors:\n  - b: str\n  - c: int"),
        ({"model": {"a": torch.zeros(2)}}, None, "tensors:\n  - model: dict"),
        ({}, None, "has no weights."),
        ([1, 2], None, "one list."),
        (torch.zeros(2), "model", "one Tensor."),
    ],
)
def test_a_file_of_another_kind_is_refused(saved, content, key, message):
    with pytest.raises(EarwitnessError) as caught:
        read(saved(content), key)
    assert message in str(caught.value)


def test_a_known_file_is_recognised_when_read_as_another(saved):
    (name, shape), *_ = published()["vggish_pca_params-970ea276.pth"].marks.items()
    with pytest.raises(EarwitnessError, match=r"it is `vggish_pca_params-970ea276\.pth`"):
        read(saved({name: np.zeros(shape)}), "model")
    with pytest.raises(EarwitnessError, match=r"it is `vggish_pca_params-970ea276\.pth`"):
        require_kind(saved({name: torch.zeros(shape)}), published()["effb2.pt"])


def test_every_entry_gets_its_value(network, entries):
    assert fit(network, entries, "some.pth") == ()
    assert same(network.state_dict(), entries)


def test_all_that_does_not_fit_is_listed_and_nothing_is_loaded(network, entries):
    del entries["conv.bias"]
    entries["extra.weight"] = torch.zeros(1)
    entries["head.weight"] = torch.zeros(4, 2)
    entries["bn.running_mean"][1] = torch.nan
    message = unfit(network, entries, file="Cnn10_mAP=0.380.pth")
    assert message.splitlines() == [
        "some.pth does not fit the network Toy:",
        "  - conv.bias: missing",
        "  - extra.weight: not expected",
        "  - bn.running_mean: not all of its values are finite",
        "  - head.weight: shape [4, 2], [3, 2] is needed",
        "`Cnn10_mAP=0.380.pth` is expected.",
    ]


def test_counters_of_batch_norm_may_be_absent(network, entries):
    del entries["bn.num_batches_tracked"]
    fit(network, entries, "some.pth")
    assert torch.equal(network.bn.weight, entries["bn.weight"])


def test_axes_of_length_one_at_the_end_do_not_count(network, entries):
    entries["conv.bias"] = entries["conv.bias"][:, None] + 1
    fit(network, entries, "some.pth")
    assert torch.equal(network.conv.bias, entries["conv.bias"][:, 0])
    entries["head.weight"] = entries["head.weight"].flatten()
    assert "head.weight: shape [6], [3, 2] is needed" in unfit(network, entries)


@pytest.mark.parametrize("change", ["absent", "misshaped", "named otherwise"])
def test_a_front_end_that_the_file_lacks_stays_as_computed(network, entries, change):
    computed = network.front.window.clone()
    window = entries.pop("front.window")
    if change == "misshaped":
        entries["front.window"] = torch.zeros(8)
    if change == "named otherwise":
        entries["front.hann"] = window
    assert fit(network, entries, "some.pth", optional=["front."]) == ("front.window",)
    assert torch.equal(network.front.window, computed) and torch.equal(network.conv.weight, entries["conv.weight"])
    assert "front." in unfit(network, entries)


def test_a_front_end_that_the_file_has_is_taken(network, entries):
    assert fit(network, entries, "some.pth", optional=["front."]) == ()
    assert torch.equal(network.front.window, entries["front.window"])


def test_what_a_network_has_no_use_for_is_ignored_when_said_so(network, entries):
    entries |= {"classes.weight": torch.zeros(5), "classes.bias": torch.zeros(5)}
    fit(network, entries, "some.pth", ignored=["classes."])
    assert torch.equal(network.conv.weight, entries["conv.weight"])
    del entries["head.bias"]
    assert "head.bias: missing" in unfit(network, entries, ignored=["classes.", "head."])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "encoder."])
def test_a_common_prefix_is_taken_off_and_told_in_one_line(network, entries, capsys, prefix):
    known = {"classes.bias": torch.zeros(5)}
    fit(
        network, known | {f"{prefix}{name}": value for name, value in entries.items()}, "some.pth", ignored=["classes."]
    )
    assert same(network.state_dict(), entries)
    (line,) = capsys.readouterr().err.splitlines()
    assert "some.pth" in line and repr(prefix) in line


def test_a_prefix_of_some_entries_or_without_use_stays(network, entries, capsys):
    twice = entries | {f"module.{name}": value for name, value in entries.items()}
    assert "module.head.bias: not expected" in unfit(network, twice)
    assert "other.a: not expected" in unfit(network, entries | {"other.a": torch.zeros(1)})
    assert capsys.readouterr().err == ""


def test_what_is_kept_stays_whatever_the_file_has(network, entries):
    before = network.head.bias.clone()
    fit(network, entries, "some.pth", kept=["head."], ignored=["head."])
    assert torch.equal(network.head.bias, before) and torch.equal(network.conv.weight, entries["conv.weight"])
    assert "head.bias: not expected" in unfit(network, entries, kept=["head."])


def listed_states():
    """Names and shapes of the networks of the golden files, as the public files have them."""

    def golden(name, network):
        content = json.loads((GOLDEN / f"state_{name}.json").read_text(encoding="utf-8"))
        return {entry[0]: tuple(entry[1]) for entry in content[network]}

    vggish = golden("vggish", "VGGish")
    laion = golden("clap", "CLAP HTSAT-tiny + roberta, no fusion")
    wavcaps = {name: golden("wavcaps_ase", f"ASE {name} + bert-base-uncased") for name in ("htsat", "Cnn14")}
    bert = {name: shape for name, shape in wavcaps["htsat"].items() if name.startswith("text_")}
    return {
        "vggish-10086976.pth": {name: shape for name, shape in vggish.items() if not name.startswith("pproc.")},
        "vggish_pca_params-970ea276.pth": {
            name.removeprefix("pproc."): shape for name, shape in vggish.items() if name.startswith("pproc.")
        },
        "H.pth.tar": golden("vggsound", "resnet18_avgpool"),
        "Cnn10_mAP=0.380.pth": golden("panns", "Cnn10"),
        "Cnn14_mAP=0.431.pth": golden("panns", "Cnn14"),
        "effb2.pt": golden("efficient_latent", "EfficientNet_B2"),
        "630k-audioset-best.pt": {f"module.{name}": shape for name, shape in laion.items()},
        "cnn14-bert.pt": wavcaps["Cnn14"] | bert,
        "htsat-bert": wavcaps["htsat"],
        "I.pth.tar": golden("vggsound", "resnet18_vlad"),
        "Cnn14_16k": golden("panns", "Cnn14_16k"),
    }


def test_each_known_file_is_recognised_by_its_entries_and_no_other():
    states = listed_states()
    networks = {name: known for name, known in published().items() if name != VECTORS}
    assert networks.keys() == states.keys() - {"I.pth.tar", "Cnn14_16k", "htsat-bert"}
    for file, shapes in states.items():
        fitting = [name for name, known in networks.items() if known.marks.items() <= shapes.items()]
        assert fitting == ([file] if file in published() else [])


def test_a_public_file_of_another_network_is_named(network):
    marks = published()["Cnn14_mAP=0.431.pth"].marks
    entries = {name: torch.zeros(1).expand(shape) for name, shape in marks.items()}
    message = unfit(network, entries, file="Cnn10_mAP=0.380.pth")
    *_, advice = message.splitlines()
    assert "`Cnn10_mAP=0.380.pth`" in advice and "`Cnn14_mAP=0.431.pth` (PANNs Cnn14)" in advice


def test_random_weights_depend_on_the_seed_alone():
    first, second, third = Toy(), Toy(), Toy()
    torch.manual_seed(0)
    random = torch.get_rng_state()
    for network, seed in ((first, 1), (second, 1), (third, 2)):
        untrained(network, seed)
    assert same(first.state_dict(), second.state_dict()) and torch.equal(torch.get_rng_state(), random)
    assert not torch.equal(first.conv.weight, third.conv.weight)
    assert torch.equal(first.front.window, torch.hann_window(4))


def test_random_weights_keep_the_size_of_activations():
    layers = [layer for _ in range(6) for layer in (nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU())]
    network = nn.Sequential(*layers).eval()
    with torch.no_grad():
        layers[1].weight.fill_(9)
        layers[1].running_var.fill_(9)
    untrained(network, 0)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 512)).astype(np.float32))
    with torch.inference_mode():
        assert 0.3 < network(x).square().mean() / x.square().mean() < 3  # ReLU halves, He doubles
    assert torch.equal(layers[1].weight, torch.ones(512)) and not layers[0].bias.any()


@pytest.mark.parametrize(
    "place", ["panns_cnn10.network:Cnn10", "vggsound.network:Vggsound", "efficient_latent.network:EfficientLatent"]
)
def test_networks_with_random_weights_tell_clips_apart(place):
    network = load(f"earwitness.extractors.{place}")().eval()
    untrained(network, 0)
    noise = np.random.default_rng(0).normal(size=(2, 16000)).astype(np.float32)
    clips = torch.from_numpy(noise * [[0.2], [0.02]]).float()
    with torch.inference_mode():
        features = network(clips)
    assert features.isfinite().all() and (features[0] - features[1]).abs().max() > 1e-2 * features.abs().max() > 0


def test_state_is_the_digest_and_is_read_again_only_after_a_change(tmp_path, monkeypatch):
    path = tmp_path / "own.pth"
    path.write_bytes(b"one")
    assert state(path) == {"sha256": sha256(path), "verified": False}
    reads = []
    original = download.digests_of
    monkeypatch.setattr(download, "digests_of", lambda place: reads.append(place) or original(place))
    assert state(path) and not reads
    path.write_bytes(b"other")
    assert state(path)["sha256"] == sha256(path) and reads == [path]


def test_state_of_a_public_file_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EarwitnessError, match=r"`snakemake --cores 1 resources/checkpoints/effb2\.pt` fetches it"):
        state("effb2.pt")
    Path("resources/checkpoints").mkdir(parents=True)
    Path("resources/checkpoints/effb2.pt").write_bytes(b"x")
    assert state("effb2.pt") == {"sha256": sha256("resources/checkpoints/effb2.pt"), "verified": False}


def test_a_published_digest_makes_a_file_verified_whatever_its_name(tmp_path, monkeypatch):
    digests = {"bytes": 3, "md5": hashlib.md5(b"one").hexdigest()}
    known = PublishedWeights("known.pth", ("https://somewhere/known.pth",), "Known", **digests)
    loose = PublishedWeights("loose.pth", ("https://somewhere/loose.pth",), "Loose")
    monkeypatch.setattr(module, "published", lambda: {"known.pth": known, "loose.pth": loose})
    for content, verified in ((b"one", True), (b"two", False), (b"only", False)):
        path = tmp_path / f"{content.decode()}.pth"
        path.write_bytes(content)
        assert state(path)["verified"] is verified


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(EarwitnessError, match=r"'efb2\.pt'.*did you mean 'effb2\.pt'"):
        fetch("efb2.pt", tmp_path)


def test_the_published_files():
    assert len(published()) == 9
    for file, known in published().items():
        assert file == known.file and known.title in known.described()
        assert bool(known.addresses) == (file != BY_HAND)
        assert bool(known.marks) == (file != VECTORS)
        assert all(urlsplit(address).scheme in ("https", "http") for address in known.addresses)
        if known.sha256_prefix:
            assert known.sha256_prefix in file  # as torch.hub has it
    unverifiable = [file for file, known in published().items() if not known.verifiable]
    assert unverifiable == ["H.pth.tar", "effb2.pt", BY_HAND]
