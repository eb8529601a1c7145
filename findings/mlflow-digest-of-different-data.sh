#!/bin/sh
# mlflow 3.17.2 gives different data the same digest, and a run then keeps only the first of two data sets that it was
# told of: `mlflow.log_input` of the validation clips after the training clips leaves no trace, and no warning.
#
# The digest of an array is that of its first 10,000 values and its shape (of audio at 32 kHz, a third of a second of the
# first clip, which is often silent). The digest of a table leaves out each column with a missing text: where one caption
# is missing, all others may change. The same data with a second context is left out in the same way.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2 numpy==2.4.6 pandas==2.3.3
cd "$folder"
MLFLOW_DISABLE_TELEMETRY=true "$folder/venv/bin/python" 2> "$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import mlflow
import numpy as np
import pandas as pd

print("mlflow", mlflow.__version__)
clips = [np.random.default_rng(seed).standard_normal((20, 320000)) for seed in (1, 2)]
for part in clips:
    part[0, :12000] = 0.0  # the first clip begins with silence
tables = [
    pd.DataFrame({"file_name": ["a.wav", "b.wav", "c.wav"], "caption": captions})
    for captions in (["A dog barks.", "Rain falls.", None], ["A bell rings.", "Wind blows.", None])
]
mlflow.set_tracking_uri("sqlite:///mlflow.db")
for kind, parts, of in (("arrays", clips, mlflow.data.from_numpy), ("tables", tables, mlflow.data.from_pandas)):
    training, validation = (of(part, name="mine") for part in parts)
    with mlflow.start_run() as run:
        mlflow.log_input(training, context="training")
        mlflow.log_input(validation, context="validation")
    kept = [one.tags[0].value for one in mlflow.get_run(run.info.run_id).inputs.dataset_inputs]
    print(f"{kind}: digests {training.digest} and {validation.digest}; the run has {kept}")
    assert training.digest == validation.digest and kept == ["training"], "the behaviour changed"
PYTHON
# Seen:
# mlflow 3.17.2
# arrays: digests d2fa98a8 and d2fa98a8; the run has ['training']
# tables: digests 8e0f5e5e and 8e0f5e5e; the run has ['training']
