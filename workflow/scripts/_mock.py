"""For scripts run by hand: the `snakemake` object, built from the rules for a command line or a notebook.

Snakemake is imported inside the functions: an environment made by conda lacks it, and jobs of a run do not need it.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from earwitness.errors import ConfigError, EarwitnessError, listed, nearest

ROOT = Path(__file__).resolve().parents[2]


def mock_snakemake(
    rule: str,
    *,
    configfiles: Sequence[str | Path] = (),
    directory: str | Path = ROOT,
    cores: int | None = None,
    **wildcards: object,
):
    """What Snakemake gives a script: input, output, params, resources, threads, wildcards, log, rule and config.

    Nothing runs, and input files need not exist. The working directory becomes `directory`: paths are relative to it.

    Args:
        rule: Name of a rule, such as ``train``.
        configfiles: As ``--configfile``: what is changed in config/config.yaml.
        directory: As ``--directory``: where results/ and config/ are.
        cores: As ``--cores``: limits the threads; all available ones without.
        **wildcards: The rule's wildcards, such as ``dataset="mini"``.

    Raises:
        ConfigError: The rule, or a wildcard's name or value, is not one of those there are.
        EarwitnessError: The rules cannot be read with this configuration.
    """
    rules = _rules(configfiles, directory, cores)
    if rule not in rules:
        raise ConfigError(f"rule {rule!r}: {nearest(rule, rules)}")
    return _mock([rules[rule]], wildcards)


def from_command_line(script: Path, arguments: Sequence[str] | None = None):
    """The object for a script run by hand, by the arguments of the command line (see docs/by-hand.md).

    Raises:
        EarwitnessError: As `mock_snakemake`, or input files do not exist.
    """
    parser = argparse.ArgumentParser(
        prog=script.name,
        description="Run this script without Snakemake, on existing input files. Paths and options are the rule's.",
        epilog="See docs/by-hand.md.",
    )
    parser.add_argument("wildcards", nargs="*", metavar="NAME=VALUE", help="such as dataset=mini")
    parser.add_argument("--configfile", nargs="+", action="extend", default=[], metavar="FILE", help="as Snakemake's")
    parser.add_argument("--directory", type=Path, default=ROOT, help="as Snakemake's; by default the repository")
    parser.add_argument("--cores", type=int, help="as Snakemake's; all by default")
    parser.add_argument("--rule", metavar="NAME", help="the rule, where several use this script")
    chosen = parser.parse_args(arguments)
    if odd := [text for text in chosen.wildcards if "=" not in text]:
        parser.error(f"wildcards are given as NAME=VALUE, not {', '.join(map(repr, odd))}")
    options = [] if Path.cwd() == ROOT else ["--snakefile", str(ROOT / "Snakefile")]
    options += [] if Path.cwd() == chosen.directory.resolve() else ["--directory", str(chosen.directory)]
    options += ["--configfile", *chosen.configfile] if chosen.configfile else []

    rules = _rules(chosen.configfile, chosen.directory, chosen.cores)
    rules = {name: rule for name, rule in rules.items() if Path(rule.script).name == script.name}
    if chosen.rule and chosen.rule not in rules:
        raise ConfigError(f"--rule {chosen.rule}: not a rule that uses {script.name}; {nearest(chosen.rule, rules)}")
    candidates = [rules[chosen.rule]] if chosen.rule else list(rules.values())
    snakemake = _mock(candidates, dict(text.split("=", 1) for text in chosen.wildcards))
    if missing := [path for path in snakemake.input if not Path(path).exists()]:
        command = shlex.join(["snakemake", *options, "--cores", "all", "--", *missing])
        raise EarwitnessError(listed(f"{script.name} reads files that do not exist:", missing, f"Make them: {command}"))
    return snakemake


def _rules(configfiles: Sequence[str | Path], directory: str | Path, cores: int | None) -> dict:
    """The rules of the Snakefile that have a script, by name; the working directory is `directory` from here on."""
    from snakemake.api import Workflow
    from snakemake.exceptions import WorkflowError
    from snakemake.settings.types import ConfigSettings, ResourceSettings, StorageSettings, WorkflowSettings
    from snakemake.utils import available_cpu_count

    paths = [Path(path) for path in configfiles]
    if absent := [str(path) for path in (*paths, Path(directory)) if not path.exists()]:
        raise ConfigError(listed("These do not exist:", absent))
    before = Path.cwd()
    try:
        settings = ConfigSettings(configfiles=paths)  # reads them, from where the command was given
        os.chdir(directory)
        workflow = Workflow(
            settings,
            ResourceSettings(cores=cores or available_cpu_count()),
            WorkflowSettings(),
            logger_manager=SimpleNamespace(get_logfile=lambda: None),  # `onstart:` asks for the log, though none starts
            storage_settings=StorageSettings(),
            storage_provider_settings={},
        )
        workflow.include(ROOT / "Snakefile", overwrite_default_target=True)
    except WorkflowError as error:
        os.chdir(before)
        raise EarwitnessError(str(error)) from None
    return {rule.name: rule for rule in workflow.rules if rule.script}


def _mock(candidates: list, wildcards: dict[str, object]):
    """The object for the one rule that takes the wildcards."""
    from snakemake.exceptions import WorkflowError
    from snakemake.iocontainers import Snakemake, Wildcards

    values = {name: str(value) for name, value in wildcards.items()}
    rule = _rule_that_takes(candidates, values)
    try:
        inputs, *_ = rule.expand_input(values)
        output, _ = rule.expand_output(values)
        resources = rule.expand_resources(values, inputs, attempt=1)
        params, _ = rule.expand_params(values, inputs, output, job=None)  # no parameter asks for the job's resources
        log = rule.expand_log(values)
    except WorkflowError as error:
        raise EarwitnessError(str(error)) from None
    return Snakemake(
        inputs,
        output,
        params,
        Wildcards(fromdict=values),
        resources._cores,
        resources,
        log,
        rule.workflow.config,
        rule.name,
        bench_iteration=None,
        scriptdir=str(Path(__file__).parent),
    )


def _rule_that_takes(candidates: list, values: dict[str, str]):
    """The rule whose output has these wildcards and takes these values."""
    constraints = {rule.name: next(iter(rule.output)).wildcard_constraints() for rule in candidates}
    names = sorted(candidates[0].wildcard_names)  # rules that share a script have the same

    def takes(rule, name: str) -> bool:
        pattern = constraints[rule.name].get(name, re.compile(".+"))
        return pattern.fullmatch(values[name]) is not None

    def valid(name: str) -> str:
        """The clause on what a wildcard may be: near names where it is one of some names."""
        patterns = [constraints[rule.name][name].pattern for rule in candidates if name in constraints[rule.name]]
        choices = [choice for pattern in patterns for choice in pattern.split("|") if choice != "(?!)"]
        texts = {re.sub(r"\\(.)", r"\1", choice): choice for choice in choices}
        if not texts:
            return "this configuration has none that fits"
        if all(re.escape(text) == choice for text, choice in texts.items()):
            return nearest(values.get(name, ""), texts)
        return f"must match {' or '.join(patterns)}"

    wrong = [f"{name}: no such wildcard; {nearest(name, names)}" for name in values if name not in names]
    for name in names:
        if name not in values:
            wrong.append(f"{name}: missing; {valid(name)}")
        elif not any(takes(rule, name) for rule in candidates):
            wrong.append(f"{name}={values[name]}: {valid(name)}")
    title = f"{' or '.join(constraints)} takes {', '.join(names) or 'no wildcards'}:"
    if wrong:
        raise ConfigError(listed(title, wrong))
    taking = [rule for rule in candidates if all(takes(rule, name) for name in names)]
    if len(taking) != 1:
        found = ", ".join(rule.name for rule in taking) or "none"
        raise ConfigError(listed(title, [f"rules that take all of these values: {found}"], "Choose one by --rule."))
    return taking[0]
