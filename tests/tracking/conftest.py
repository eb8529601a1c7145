"""An MLflow store, made once."""

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A new store's file."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from earwitness.tracking.store import prepare_store

    folder = tmp_path_factory.mktemp("made")
    assert prepare_store(f"sqlite:///{folder / 'mlflow.db'}", folder / "mlflow-store.json")
    assert sorted(path.name for path in folder.iterdir()) == ["mlflow-store.json", "mlflow.db"]
    return folder / "mlflow.db"


@pytest.fixture
def store(made, tmp_path) -> str:
    """The address of a new store."""
    shutil.copy(made, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
