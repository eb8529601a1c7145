#!/bin/sh
# MLflow 3.17.2: a served model with a `binary` column gets the decoded bytes, or the base64 text itself as bytes, depending
# on which of the documented forms a client chose for the request. There is neither an error nor a warning.
#
# A recording is posted to a model as base64 in a column that the signature declares `binary`. With `dataframe_records` and
# `dataframe_split` MLflow decodes it; with `inputs` and `instances` it encodes the text as ASCII, so the same
# recording arrives as other bytes. A model that takes samples as raw bytes (np.frombuffer) then scores noise.
# To avoid it, declare the column `string`, and decode it in the model with base64.b64decode(text, validate=True).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2 httpx fastapi
export MLFLOW_DISABLE_TELEMETRY=true
cd "$folder"
cat > model.py <<'PYTHON'
import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Loudness(PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        samples = [np.frombuffer(bytes(audio), np.int16).astype(float) for audio in model_input["audio"]]
        return [{"samples": len(own), "rms": round(float(np.sqrt((own**2).mean())), 1)} for own in samples]


set_model(Loudness())
PYTHON
"$folder/venv/bin/python" -W ignore - 2> "$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import base64

import mlflow
import numpy as np
from fastapi.testclient import TestClient
from mlflow.models import ModelSignature
from mlflow.pyfunc.scoring_server import init
from mlflow.types import ColSpec, Schema

signature = ModelSignature(Schema([ColSpec("binary", "audio")]), Schema([ColSpec("double", "rms")]))
mlflow.pyfunc.save_model("saved", python_model="model.py", signature=signature, pip_requirements=["mlflow"])
client = TestClient(init(mlflow.pyfunc.load_model("saved")))
samples = (100 * np.sin(np.arange(1200) / 10)).astype(np.int16)
audio = base64.b64encode(samples.tobytes()).decode()

print("mlflow", mlflow.__version__)
print("posted:", {"samples": len(samples), "rms": round(float(np.sqrt((samples.astype(float) ** 2).mean())), 1)})
forms = {
    "dataframe_records": [{"audio": audio}],
    "dataframe_split": {"columns": ["audio"], "data": [[audio]]},
    "inputs": {"audio": [audio]},
    "instances": [{"audio": audio}],
}
found = {}
for form, rows in forms.items():
    reply = client.post("/invocations", json={form: rows})
    assert reply.status_code == 200, reply.text
    (found[form],) = reply.json()["predictions"]
    print(f"{form}: {found[form]}")
assert found["dataframe_records"] == found["dataframe_split"] and found["dataframe_records"]["samples"] == 1200
assert found["inputs"]["samples"] == found["instances"]["samples"] == 1600, "the behaviour changed"
PYTHON
# Seen:
# mlflow 3.17.2
# posted: {'samples': 1200, 'rms': 70.1}
# dataframe_records: {'samples': 1200, 'rms': 70.1}
# dataframe_split: {'samples': 1200, 'rms': 70.1}
# inputs: {'samples': 1600, 'rms': 20132.6}
# instances: {'samples': 1600, 'rms': 20132.6}
