"""An experiment's result over its seeds."""

from earwitness.evaluation import result
from earwitness.files import read_json, write_json

CHOSEN = {"tau": 0.02, "validation_cider_d": 0.5, "validation_cider_d_by_tau": {"0.02": 0.5}, "front_end": {"hop": 1}}


def test_what_predictions_chose_is_in_the_result_by_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(result, "read_scores", lambda folder: None)
    monkeypatch.setattr(result, "summarise", lambda scores: {})
    folders = [tmp_path / "seed-0", tmp_path / "seed-1"]
    for folder, chosen in zip(folders, (CHOSEN, CHOSEN | {"validation_cider_d": 1.0}), strict=True):
        for kind, more in (("captioning", {"chosen": chosen}), ("retrieval", {})):
            write_json(folder / kind / "metrics.json", {"counts": {"captions_empty": 0}})
            write_json(folder / kind / "prediction.json", {"provenance": {"inputs": {}}} | more)
    write_json(tmp_path / "leaks.json", {"schema": 2, "clips": {}, "within": [], "lists": {}})
    out = tmp_path / "metrics.json"
    kinds = ("captioning", "retrieval")
    result.summarise_experiment(
        "d", "e", {"system": "wsac"}, [0, 1], folders, kinds, tmp_path / "leaks.json", [], [], ["said"], out
    )
    content = read_json(out)
    chosen = content["kinds"]["captioning"]["chosen"]
    assert [seed["validation_cider_d"] for seed in chosen] == [0.5, 1.0] and chosen[0].keys() == chosen[1].keys()
    assert chosen[0]["tau"] == 0.02 and "chosen" not in content["kinds"]["retrieval"]
    assert result.validation_of(content) == result.validation_of(content, "captioning") == {"validation_cider_d": 0.75}
    assert result.validation_of(content, "retrieval") == {} and content["remarks"] == ["said"]
