"""The parts of the repository agree with one another."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.places import GOLDEN, ROOT


def pinned(path: Path) -> dict[str, str]:
    """Name -> version of the lines ``name==version``."""
    return dict(re.findall(r"^\s*-?\s*([\w.-]+)==([\w.]+)$", path.read_text(encoding="utf-8"), re.MULTILINE))


def required() -> list[str]:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    lines = [*(ROOT / "requirements.in").read_text(encoding="utf-8").splitlines(), *extras["sbert"]]
    return [re.split(r"[=<>]", line)[0] for line in lines if line and not line.startswith("#")]


def test_lock_pins_everything_that_is_required():
    assert set(required()) <= pinned(ROOT / "requirements.lock").keys()


def test_lock_names_no_machine():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "+cpu" not in text and "file:" not in text and "--" not in text


TYPES = {"mypy", "types-psutil", "types-pyyaml", "types-requests", "types-tqdm"}
DEVELOPMENT = {"ruff", "snakefmt", "pytest", "pytest-timeout", "pytest-xdist", "resampy"} | TYPES
TO_BUILD_PSDS = {"cython", "einops", "lazy-dataset"}


def test_conda_environment_is_in_step_with_the_lock():
    lock, environment = pinned(ROOT / "requirements.lock"), pinned(ROOT / "envs" / "earwitness.yaml")
    assert environment, "the environment pins nothing"
    assert environment == {name: lock[name] for name in environment}
    assert set(required()) - environment.keys() == DEVELOPMENT | TO_BUILD_PSDS


def test_every_rule_has_a_script_a_log_and_an_environment():
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"^rule ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            name = rule.split(":")[0]
            if name == "not_configured":
                continue
            for directive in ("script:", "log:", "conda:", "resources:", "mem_mb=", "runtime="):
                assert directive in rule, f"{path.name}: rule {name} lacks {directive}"
            script = re.search(r'"\.\./(workflow/scripts/\w+\.py)"', rule)
            assert script and (ROOT / script[1]).exists(), name


def test_every_job_is_announced_with_its_wildcards_and_its_log():
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"^ *rule\b", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            if rule.split(":")[0].strip() == "not_configured":
                continue
            message = re.search(r'message:\n\s+"(.*)"\n', rule)
            assert message and message[1].endswith(" ({log})"), f"{path.name}: {rule[:60]}"
            output = rule.partition("output:")[2].partition("log:")[0].replace("{SEED}", "{dataset}{experiment}{seed}")
            wildcards = set(re.findall(r"(?<!\w){?{(dataset|experiment|seed|split|feature|text)}", output))
            assert {f"{{wildcards.{name}}}" for name in wildcards} <= set(re.findall(r"{[\w.]+}", message[1])), message[
                1
            ]


def test_no_input_is_ancient_with_which_snakemake_can_leave_out_the_target():
    for path in sorted((ROOT / "rules").glob("*.smk")):
        assert not re.search(r'ancient\(["f]', path.read_text(encoding="utf-8")), path


def test_captions_of_the_report_exist_and_are_used():
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    named = set(re.findall(r'"report/(\w+)\.rst"', rules)) | set(re.findall(r'shown\(\s*f?"[^"]*",\s*"(\w+)"', rules))
    assert named == {path.stem for path in (ROOT / "rules" / "report").iterdir()}
    page = re.search(r"rule comparison:.*?output:(.*?)log:", rules, re.DOTALL)
    assert page and all(name in page[1] for name in ("comparison.html", "comparison.csv", "plots"))


PROFILE = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text(encoding="utf-8"))


def test_profile_reruns_what_was_interrupted():
    assert PROFILE["rerun-incomplete"] is True


def test_profile_shows_which_jobs_run():
    """`rules` hides messages of rules, `progress` how many jobs are done, and `all` both."""
    assert not {"rules", "progress", "all"} & set(PROFILE["quiet"])


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_data_and_no_large_file_is_in_git(tracked):
    """The golden numbers are the one exception, for their suffix."""
    for path in tracked:
        assert path.stat().st_size < 1_000_000, path
        assert path.suffix not in {".wav", ".ogg", ".flac", ".mp3", ".h5", ".pth", ".safetensors", ".pkl"}, path
        assert path.suffix != ".npz" or path.parent == GOLDEN, path


def test_only_tests_and_benchmarks_refer_to_shared_data(tracked):
    for path in tracked:
        inside = path.relative_to(ROOT).parts[0]
        if inside not in ("tests", "benchmarks") and path.suffix in {".py", ".smk", ".yaml", ".md", ".toml", ""}:
            assert "../shared" not in path.read_text(encoding="utf-8"), path


# A page, and the numbers of its sections where they follow: "docs/metrics.md, sections 3.2 and 3.3".
CITED = r"(?<![\w./*-])(?P<page>[\w./-]*\w\.md)\b(?:,? sections? (?P<sections>\d[\d.]*(?:(?:, | and | to )\d[\d.]*)*))?"


def _page(name: str, path: Path) -> Path | None:
    """The page that a file of the repository names, from the root or from its own folder."""
    return next((place for folder in (ROOT, path.parent) if (place := (folder / name).resolve()).is_file()), None)


def test_pages_and_sections_that_are_cited_exist(tracked):
    """In code, rules and texts: ``docs/metrics.md, section 2.3``; a section without a page is that of a paper."""
    offenders = []
    for path in tracked:
        if path.suffix not in {".py", ".smk", ".yaml", ".html", ".json", ".md", ".toml"} and path.name != "Snakefile":
            continue
        text = re.sub(r"\n[ #]*", " ", path.read_text(encoding="utf-8"))
        text = re.sub(r"\[[^\]]*\](?=\()", "", text)  # the words of a link, whose target is checked below
        for cited in re.finditer(CITED, text):
            page = _page(cited["page"], path)
            headings = re.findall(r"^#+ ([\d.]*\d)", page.read_text(encoding="utf-8"), re.MULTILINE) if page else []
            numbers = re.findall(r"\d+(?:\.\d+)*", cited["sections"] or "")
            if page is None or not set(numbers) <= set(headings):
                offenders.append(f"{path.relative_to(ROOT)}: {cited[0]}")
        if path.suffix == ".py":
            papers = re.sub(r"arXiv [\d.]+, sections? \d", "", re.sub(CITED, "", text))
            offenders += [f"{path.name}: {alone}" for alone in re.findall(r"\bsections? \d[\d.]*", papers)]
    assert offenders == []


def test_links_of_pages_lead_somewhere(tracked):
    for path in tracked:
        if path.suffix != ".md":
            continue
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!\w+://)([^)#]*)", text):
            assert not target or (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_map_in_the_readme_names_every_room():
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Map\n")[2]
    named = {name for cell in re.findall(r"^\| (.+?) \|", text, re.MULTILINE) for name in re.findall(r"`(.+?)`", cell)}
    library = ROOT / "src" / "earwitness"
    rooms = {path.stem for path in library.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    folders = {"rules/", "workflow/scripts/", "config/", "envs/", "profiles/", "tests/", "benchmarks/", "docs/"}
    folders |= {"findings/"}
    assert named == rooms - {"__init__", "__main__"} | folders | {"src/earwitness/", "Snakefile"}
