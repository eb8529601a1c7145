"""The profiles for clusters: keys and rules that exist, and dry runs where their plugins are installed."""

from __future__ import annotations

import importlib.util
import re
import tomllib

import pytest
import yaml
from snakemake.cli import get_argument_parser

from earwitness import registry
from tests.places import ROOT
from tests.test_repository import pinned
from tests.workflow.conftest import Workflow

PROFILES = sorted(path.parent.name for path in (ROOT / "profiles").glob("*/config.yaml"))
CLUSTERS = [name for name in PROFILES if name != "default"]
# Of plugins that need not be installed.
PLUGGED = {
    "cluster-generic-submit-cmd", "cluster-generic-cancel-cmd", "kubernetes-namespace", "kubernetes-persistent-volumes",
    "slurm-requeue", "slurm-status-command", "slurm-init-seconds-before-status-checks",
}  # fmt: skip


def profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text(encoding="utf-8"))


def rules() -> set[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    named = {f"{stem}_{kind}" for stem in ("predict", "score") for kind in registry.KINDS}
    return {*re.findall(r"^rule (\w+):", text, re.MULTILINE), *named}


def test_profiles_are_those_that_the_documentation_has():
    text = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    assert set(CLUSTERS) == set(re.findall(r"\(\.\./profiles/([\w-]+)/config\.yaml\)", text))


@pytest.mark.parametrize("name", PROFILES)
def test_every_key_is_an_option_of_snakemake(name):
    options = {
        option.removeprefix("--") for action in get_argument_parser()._actions for option in action.option_strings
    }
    assert profile(name).keys() <= options | PLUGGED


@pytest.mark.parametrize("name", CLUSTERS)
def test_groups_are_of_rules_that_exist_and_leave_no_kind_out(name):
    groups = profile(name)["groups"]
    assert groups.keys() <= rules()
    assert {rule for rule in rules() if rule.startswith(("predict_", "score_"))} <= groups.keys()


def test_versions_of_the_plugins_are_pinned_for_what_the_extra_names():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(extras["cluster"]) <= pinned(ROOT / "requirements.cluster").keys()


@pytest.mark.workflow
@pytest.mark.parametrize("name", CLUSTERS)
def test_dry_run(name, tmp_path, tiny_config):
    plugins = [f"snakemake_executor_plugin_{profile(name)['executor'].replace('-', '_')}"]
    if storage := profile(name).get("default-storage-provider"):
        plugins.append(f"snakemake_storage_plugin_{storage}")
    if missing := [plugin for plugin in plugins if importlib.util.find_spec(plugin) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = ROOT / "profiles" / name
    printed = Workflow(tmp_path / "run").run(
        "results/tiny/cl4ac/metrics.json", "-n", "--profile", str(folder), configfile=tiny_config
    )
    assert "Group job evaluation" in printed
