#!/bin/sh
# pytorch_optimizer 4.1.0: Ranger with its defaults goes up the gradient for its first five steps.
#
# RAdam cannot estimate the variance in its first five steps. The package marks them by a step size of -1 times the learning
# rate, which its RAdam takes as "no step", and its Ranger multiplies with the momentum: away from the minimum, and without
# Adam's normalisation, so by the full length of the gradient. The sixth step is the first down, and Lookahead takes half of
# the climb over into the slow weights. With degenerated_to_sgd=True the same five steps go down, as those of torch's RAdam.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 pytorch-optimizer==4.1.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import pytorch_optimizer
import torch


def losses(kind, **options):
    weights = torch.nn.Parameter(torch.ones(4))
    optimiser = kind([weights], lr=0.01, **options)
    found = []
    for _ in range(7):
        optimiser.zero_grad()
        loss = weights.square().sum()
        loss.backward()
        optimiser.step()
        found.append(round(loss.item(), 2))
    return found


print("pytorch_optimizer", version("pytorch_optimizer"), "torch", torch.__version__.split("+")[0])
print("loss |w|^2 before each of the first seven steps, rate 0.01, from w = 1:")
runs = {
    "Ranger": losses(pytorch_optimizer.Ranger),
    "Ranger, foreach=False": losses(pytorch_optimizer.Ranger, foreach=False),
    "Ranger, degenerated_to_sgd=True": losses(pytorch_optimizer.Ranger, degenerated_to_sgd=True),
    "RAdam of the package": losses(pytorch_optimizer.RAdam),
    "RAdam of torch": losses(torch.optim.RAdam),
}
for name, found in runs.items():
    print(f"  {name}:", *found)
for name in ("Ranger", "Ranger, foreach=False"):
    assert all(later > earlier for earlier, later in zip(runs[name][:5], runs[name][1:6])), "the behaviour changed"
    assert runs[name][6] > 4, "the behaviour changed"
for name in ("Ranger, degenerated_to_sgd=True", "RAdam of torch"):
    assert all(later < earlier for earlier, later in zip(runs[name][:5], runs[name][1:6])), "the behaviour changed"
assert set(runs["RAdam of the package"][:6]) == {4.0}, "the behaviour changed"
PYTHON
# Seen:
# pytorch_optimizer 4.1.0 torch 2.13.0
# loss |w|^2 before each of the first seven steps, rate 0.01, from w = 1:
#   Ranger: 4.0 4.16 4.33 4.5 4.68 4.86 4.42
#   Ranger, foreach=False: 4.0 4.16 4.33 4.5 4.68 4.86 4.42
#   Ranger, degenerated_to_sgd=True: 4.0 3.84 3.69 3.54 3.39 3.25 3.62
#   RAdam of the package: 4.0 4.0 4.0 4.0 4.0 4.0 4.0
#   RAdam of torch: 4.0 3.84 3.69 3.54 3.4 3.26 3.25
