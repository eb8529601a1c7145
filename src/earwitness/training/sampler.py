"""The order of batches in an epoch, independent of the number of processes."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler


class EpochSampler(Sampler):
    """Yields (epoch, index of the batch), in every process that trains.

    A data set indexed by this pair can derive all randomness from (seed, epoch): an epoch is then the same for any
    number of processes that load batches or train, and after a resume.
    """

    def __init__(self, batches: int):
        self.batches, self.epoch = batches, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter((self.epoch, number) for number in range(self.batches))
