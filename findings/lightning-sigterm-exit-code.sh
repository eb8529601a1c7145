#!/bin/sh
# lightning 2.6.6: a training that SIGTERM ends has exit code 0, as one that is complete.
#
# Trainer.fit handles SIGTERM, with which schedulers preempt jobs: after the step it raises SIGTERMException, a SystemExit
# without a code. What follows `fit` does not run, and whoever started the program takes it for finished: a shell goes on
# with `&&`, Slurm states COMPLETED. Without Lightning the status is 143. To avoid it, catch the exception where
# `trainer.received_sigterm` is true, and exit with another code.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check lightning==2.6.6 torch==2.13.0 numpy==2.2.6
cat > "$folder/train.py" <<'PYTHON'
import os
import signal

import torch
from lightning.pytorch import LightningModule, Trainer


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        if batch_idx == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
Trainer(max_epochs=5, **options).fit(Model(), torch.utils.data.DataLoader(torch.ones(10, 1)))
print("the training is complete")
PYTHON
status=0
"$folder/venv/bin/python" -W ignore "$folder/train.py" > "$folder/out" 2> "$folder/log" || status=$?
echo "exit status $status; $(grep -c complete "$folder/out") lines after the training"
[ "$status" = 0 ] && ! grep -q complete "$folder/out" || { cat "$folder/log"; exit 1; }
