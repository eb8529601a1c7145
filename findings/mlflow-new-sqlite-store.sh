#!/bin/sh
# MLflow 3.17.2: several clients that meet an SQLite store which does not exist yet make its tables at the same time, and
# some of them fail ("duplicate column name", "table ... already exists"), as when an array job starts its first runs.
#
# The same three clients with a store that is there already succeed. Which clients fail differs from run to run; that none
# of three fails in five trials is what would be new.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2 "setuptools<81"
cat > "$folder/client.py" <<'PYTHON'
import sys
import time
from pathlib import Path

import mlflow

database, start = sys.argv[1], Path(sys.argv[2])
print("ready", flush=True)
while not start.exists():
    time.sleep(0.001)
client = mlflow.MlflowClient(f"sqlite:///{database}")
client.search_experiments()
PYTHON
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

folder = Path(sys.argv[1])


def failures(database, start):
    """What three clients say that are let go at once."""
    start.unlink(missing_ok=True)
    command = [sys.executable, str(folder / "client.py"), str(database), str(start)]
    clients = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
        for _ in range(3)
    ]
    for client in clients:
        client.stdout.readline()
    start.touch()
    said = [client.communicate()[1] for client in clients]
    return [re.findall(r"sqlite3.OperationalError\) ([a-z ]+)", text)[-1:] for client, text in zip(clients, said) if client.returncode]


print("mlflow", version("mlflow"))
new = [failures(folder / f"{trial}.db", folder / "start") for trial in range(5)]
print("failed of three clients, new store, five trials:", [len(trial) for trial in new])
print("they say:", sorted({words[0].strip() for trial in new for words in trial if words}))
subprocess.run([sys.executable, "-c", f"import mlflow; mlflow.MlflowClient('sqlite:///{folder}/there.db').search_experiments()"], check=True, capture_output=True)
there = [len(failures(folder / "there.db", folder / "start")) for trial in range(2)]
print("failed of three clients, store that exists, two trials:", there)
assert any(new), "the behaviour changed"
assert not any(there), "the behaviour changed"
PYTHON
