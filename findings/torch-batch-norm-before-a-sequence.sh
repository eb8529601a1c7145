#!/bin/sh
# torch 2.13.0 on a CPU: BatchNorm2d between a convolution with one band left and a recurrent or linear layer has wrong
# gradients in training.
#
# Networks of sound pool frequency to one value, normalise [clips, channels, time, 1], and pass squeeze(3).transpose(1, 2)
# on. The gradient that comes back has channels last in memory, the input has not, and backward reads one like the other:
# gradients of weight, bias and input are wrong by about their own size, in float32 and float64 alike, without a message. The
# output is right, and so are the gradients with two bands, or if the input is contiguous in channels_last.
#
# Seen: weight of the first channel by finite differences 32.1797, by backward -5.7909; in channels_last 32.1797.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn

print("torch", torch.__version__.split("+")[0])
torch.manual_seed(0)
pooled = torch.randn(8, 16, 50, 1, dtype=torch.float64) * 2 + 1  # [clips, channels, time, 1], as after the last pooling
norm, linear = nn.BatchNorm2d(16).double(), nn.Linear(16, 4).double()
nn.init.uniform_(norm.weight, 0.5, 1.5)


def loss(x):
    steps = norm(x).squeeze(3).transpose(1, 2)  # [clips, time, channels]
    return linear(steps).tanh().square().sum()


def gradient(x):
    norm.zero_grad()
    loss(x).backward()
    return norm.weight.grad.clone()


with torch.no_grad():
    expected = torch.zeros(16, dtype=torch.float64)
    for channel in range(16):
        for sign in (1, -1):
            norm.weight[channel] += sign * 1e-6
            expected[channel] += sign * loss(pooled) / 2e-6
            norm.weight[channel] -= sign * 1e-6
usual, last = gradient(pooled), gradient(pooled.contiguous(memory_format=torch.channels_last))
print(f"weight of the first channel: by differences {expected[0]:.4f}, by backward {usual[0]:.4f},",
      f"in channels_last {last[0]:.4f}")
error = float((usual - expected).abs().max() / expected.abs().max())
print(f"largest error of backward: {error:.2f} of the largest gradient")
assert torch.allclose(last, expected, rtol=1e-4, atol=1e-4)
assert error > 0.3, "the behaviour changed"
PYTHON
