"""The order of batches in an epoch, independent of the number of worker processes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class EpochSampler(Sampler):
    """Yields (epoch, index of the batch), distributed among processes that train together.

    A data set indexed by this pair can derive all randomness from (seed, epoch): an epoch is then the same for any
    number of worker processes, and after a resume.
    """

    def __init__(self, batches: int):
        self.batches, self.epoch = batches, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.batches // _world()[1])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rank, world = _world()
        # Every process takes the same number of steps; the first batches are repeated if needed.
        return iter((self.epoch, (rank + world * step) % self.batches) for step in range(len(self)))


def _world() -> tuple[int, int]:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
