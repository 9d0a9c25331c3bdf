"""Which prompts make up each training step: a function of seed, pass and process, nothing else."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

SPREAD = 0.05  # by which a length is blurred before prompts are sorted by it


class LengthBatches(Sampler[list[int]]):
    """Batches of prompts of similar length, in an order that seed and pass fix.

    A pass sorts the prompts by their length, blurred a little so that each pass makes other
    batches, and takes the batches in random order: little padding, and no drift from long to
    short prompts within a pass. A last batch that is not full is filled with prompts drawn at
    random, so that every step weighs the same on however many processes it is shared between.

    Each process gets every `processes`-th prompt of each batch: the batches are the same ones as
    in a single process, and so is the training.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        """`batch_size` is that of a step, all processes together."""
        self.lengths = np.asarray(lengths, dtype=np.float64)
        self.batch_size = batch_size
        self.seed = seed % 2**32
        self.process, self.processes = process, processes
        self.number = 0

    def set_pass(self, number: int) -> None:
        """Choose which pass (0, 1, …) the next iteration gives."""
        self.number = number

    def __len__(self) -> int:
        """Return the steps of a pass."""
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.number])
        rows = np.resize(random.permutation(len(self.lengths)), len(self) * self.batch_size)
        blurred = self.lengths[rows] * random.uniform(1 - SPREAD, 1 + SPREAD, len(rows))
        batches = rows[np.argsort(blurred)].reshape(len(self), self.batch_size)
        for batch in random.permutation(batches):
            yield batch[self.process :: self.processes].tolist()
