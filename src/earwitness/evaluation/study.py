"""A study: the experiments of a sweep on one data set, each compared with a baseline.

The interval of a score, that of its difference to the baseline, and the p-value reflect the choice of clips; the
standard deviation over seeds stands beside them. The p-values of one metric are corrected for the number of its
comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from earwitness import registry
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.evaluation.compare import Run, differing_settings, read_run
from earwitness.evaluation.result import kinds_of, read_result
from earwitness.files import provenance, read_json
from earwitness.metrics import bootstrap
from earwitness.metrics.statistics import Statistic

SCHEMA = 1
NOT_SCORED = {"value": None, "reason": "not scored with this metric"}
PERMUTATIONS = 100  # at least, for each comparison: their number multiplies the smallest p-value there can be


def study(
    results: Path,
    name: str,
    baseline: str,
    members: Sequence[str],
    axes: Sequence[str],
    experiments: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> dict[str, Any]:
    """Compare the experiments of a sweep with a baseline, for the headline metrics of all they predict.

    Args:
        results: the folder ``results/{dataset}``, with a ``metrics.json`` and the scores of all seeds of each.
        name: of the sweep.
        baseline: one of the experiments; members: all of them but a baseline from elsewhere.
        axes, experiments: the options that the sweep varies, and for each experiment their label and value, as
            ``Config.study`` returns them.

    Returns:
        A dictionary with ``study``, ``dataset``, ``baseline``, ``axes``, ``metrics`` (name -> kind of prediction),
        ``comparisons`` (metric -> number of p-values it was corrected for) and ``experiments``: of each ``name``,
        ``member`` (of the sweep), ``settings``, ``seeds``, ``leaks``, ``untrained``, ``remarks``, ``settings_differ``
        (settings of scoring other than the baseline's, as [baseline, its own]) and ``metrics``. An entry of these has

        - ``value`` (mean over seeds), ``ci95`` (over clips), ``per_seed``, ``sd_over_seeds`` (of a sample; None for one
          seed) and ``clips``, or value None with a ``reason``;
        - ``difference`` to the baseline, its ``difference_ci95``, ``p_value`` and ``p_corrected`` (Holm, over the
          experiments with this metric), or None with ``difference_reason``; of the baseline these are None. They are
          paired over clips, with seeds averaged on each draw (``bootstrap.difference``).

    Raises EarwitnessError for missing or invalid files, and MismatchError for results of another data set.
    """
    paths = {experiment: results / experiment / "metrics.json" for experiment in experiments}
    if missing := [str(path) for path in paths.values() if not path.is_file()]:
        raise EarwitnessError(listed("The study needs results that do not exist:", missing))
    found = {experiment: read_result(path) for experiment, path in paths.items()}
    if others := [
        str(paths[one]) for one in found if (found[one]["dataset"], found[one]["experiment"]) != (results.name, one)
    ]:
        raise MismatchError(listed("These results are of another data set or experiment:", others, "Make them again."))
    kinds = dict.fromkeys(kind for result in found.values() for kind in kinds_of(result))
    scored = {metric for result in found.values() for metric in result["metrics"]}
    of_kinds = {metric: kind for kind in kinds for metric in registry.kind(kind).headlines if metric in scored}
    runs = {experiment: read_run(path, of_kinds) for experiment, path in paths.items()}
    entries = {
        experiment: {metric: _scores(run, metric, kind) for metric, kind in of_kinds.items()}
        for experiment, run in runs.items()
    }
    comparisons = {metric: _compare(metric, kind, runs, baseline, entries) for metric, kind in of_kinds.items()}
    return {
        "schema": SCHEMA,
        "study": name,
        "dataset": results.name,
        "baseline": baseline,
        "axes": list(axes),
        "metrics": of_kinds,
        "comparisons": comparisons,
        "experiments": [
            {
                "name": experiment,
                "member": experiment in members,
                "settings": settings,
                "seeds": found[experiment]["seeds"],
                **{key: found[experiment].get(key, []) for key in ("leaks", "untrained", "remarks")},
                "settings_differ": _settings_differ(runs[baseline], runs[experiment]),
                "metrics": entries[experiment],
            }
            for experiment, settings in experiments.items()
        ],
        "provenance": provenance("study", paths),
    }


def read_study(path: Path) -> dict[str, Any]:
    """Read the file of a study. Raises EarwitnessError for other files and other schemas."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or "study" not in content:
        raise EarwitnessError(f"{path} is not a study (results/{{dataset}}/studies/{{sweep}}.json) of this version.")
    return content


def _scores(run: Run, metric: str, kind: str) -> dict[str, Any]:
    """One metric of one experiment over its seeds and clips, and places for the difference to the baseline."""
    entry = run.metrics.get(metric, NOT_SCORED)
    per_seed = entry.get("per_seed", [])
    return {
        "value": entry["value"],
        "ci95": entry.get("ci95"),
        "per_seed": per_seed,
        "sd_over_seeds": stdev(per_seed) if len(per_seed) > 1 else None,
        "clips": len(run.kinds[kind].ids) if kind in run.kinds else 0,
        **dict.fromkeys(("difference", "difference_ci95", "p_value", "p_corrected")),
        **({"reason": entry["reason"]} if entry["value"] is None else {}),
    }


def _compare(
    metric: str, kind: str, runs: Mapping[str, Run], baseline: str, entries: Mapping[str, dict[str, Any]]
) -> int:
    """Fill in the differences of one metric to the baseline; returns the number of p-values."""
    tested: dict[str, list[Statistic]] = {}
    for experiment, run in runs.items():
        entry = entries[experiment][metric]
        if experiment == baseline or entry["value"] is None:
            continue
        if (reason := _obstacle(metric, kind, baseline, runs[baseline], run)) is not None:
            entry["difference_reason"] = reason
        elif statistics := run.kinds[kind].statistics(metric, runs[baseline].kinds[kind].ids):
            tested[experiment] = statistics
    if not tested:
        return 0
    of_baseline = runs[baseline].kinds[kind].statistics(metric, runs[baseline].kinds[kind].ids)
    assert of_baseline is not None  # as ``_obstacle`` made sure
    permutations = max(bootstrap.RESAMPLES, PERMUTATIONS * len(tested))
    differences = bootstrap.differences(of_baseline, list(tested.values()), permutations=permutations)
    for experiment, found in zip(tested, differences, strict=True):
        entry = entries[experiment][metric]
        entry |= {"difference": found["difference"], "difference_ci95": found["ci95"], "p_value": found["p_value"]}
        entry |= {"difference_reason": found["reason"]} if "reason" in found else {}
    with_p = [entries[name][metric] for name in tested if entries[name][metric]["p_value"] is not None]
    for entry, p_value in zip(with_p, bootstrap.holm([entry["p_value"] for entry in with_p]), strict=True):
        entry["p_corrected"] = p_value
    return len(with_p)


def _obstacle(metric: str, kind: str, name: str, baseline: Run, run: Run) -> str | None:
    """Why an experiment with a value cannot be compared with the baseline clip by clip; None where it can."""
    entry = baseline.metrics.get(metric, NOT_SCORED)
    if entry["value"] is None:
        return f"the baseline {name} has no value: {entry['reason']}"
    a, b = baseline.kinds[kind], run.kinds[kind]
    if a.place.keys() != b.place.keys():
        shared = len(a.place.keys() & b.place.keys())
        return f"other clips were scored: {len(b.ids)}, of which the {len(a.ids)} of the baseline share {shared}"
    if len({scores.references for scores in (*a.seeds, *b.seeds)} - {None}) > 1:
        return "other references than the baseline's"
    if any(metric not in scores.statistics for scores in (*a.seeds, *b.seeds)):
        return "no statistics by clip were stored from which it could be computed on draws of the clips"
    return None


def _settings_differ(baseline: Run, run: Run) -> dict[str, list[Any]]:
    """Settings of scoring in which an experiment differs from the baseline, of all kinds that both predict."""
    differing: dict[str, list[Any]] = {}
    for kind, scored in run.kinds.items():
        differing |= differing_settings(baseline.kinds[kind], scored) if kind in baseline.kinds else {}
    return differing
