"""The DAG is struck twenty times, and what it makes is what an undisturbed run makes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.workflow.faults import SYSTEMS, Harness, summary

pytestmark = pytest.mark.workflow


def test_twenty_faults_change_nothing(tmp_path):
    seed = datetime.now(UTC).toordinal()  # another one each day
    system = ("cl4ac", "atr", "alignment")[seed % 3]  # wsac is trained with a CLAP, which takes twice as long
    faults = Harness(tmp_path, seed, [system]).run(20)
    print(f"seed {seed}, {SYSTEMS[system]}: {summary(faults)}")
    assert len(faults) == 20
    assert not [fault for fault in faults if fault.problems or fault.left]
