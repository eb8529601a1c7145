"""Gated embedding units (Miech et al., arXiv 1804.02516): from a pooled vector to a unit vector in a joint space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.errors import EarwitnessError
from earwitness.nn.parallel import ALONE, sharers


class ContextGating(nn.Module):
    """Values times the sigmoid of a linear map of them, [B, size] -> [B, size]."""

    def __init__(self, size: int, batch_norm: bool = True):
        super().__init__()
        self.fc = nn.Linear(size, size)
        self.batch_norm = nn.BatchNorm1d(size) if batch_norm else None

    def forward(self, x: Tensor) -> Tensor:
        gates = self.fc(x)
        if self.batch_norm is not None:
            if self.training and len(x) < 2 and sharers() == 1:
                raise EarwitnessError(ALONE)
            gates = self.batch_norm(gates)
        return x * torch.sigmoid(gates)


class GatedEmbedding(nn.Module):
    """A linear map and context gating, of length 1: [B, inputs] -> float32 [B, size]."""

    def __init__(self, inputs: int, size: int, batch_norm: bool = True):
        super().__init__()
        self.fc = nn.Linear(inputs, size)
        self.cg = ContextGating(size, batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(self.cg(self.fc(x)).float(), dim=1)
