"""Which prompts a step sees: a function of seed and pass, whatever the processes."""

import random

import numpy as np
import pytest

from engine.teacher.sampler import LengthBatches

LENGTHS = [random.Random(row).randint(50, 450) for row in range(1003)]


def batches(number: int = 0, seed: int = 0, **options) -> list[list[int]]:
    sampler = LengthBatches(LENGTHS, 8, seed, **options)
    sampler.set_pass(number)
    return list(sampler)


def test_a_pass_sees_every_prompt_in_full_batches():
    seen = batches()
    assert len(seen) == 126
    assert {len(batch) for batch in seen} == {8}
    assert {row for batch in seen for row in batch} == set(range(1003))


def test_seed_and_pass_fix_the_batches():
    assert batches(number=3) == batches(number=3)
    assert batches(number=3) != batches(number=2)
    assert batches(seed=1) != batches(seed=2)
    pairs = [{frozenset(batch) for batch in batches(number=number)} for number in (0, 1)]
    assert not pairs[0] & pairs[1]  # other batches, not only another order


def test_batches_hold_prompts_of_similar_length():
    longest = sum(max(LENGTHS[row] for row in batch) * 8 for batch in batches())
    assert longest < 1.1 * sum(LENGTHS)


def test_lengths_do_not_drift_within_a_pass():
    means = [np.mean([LENGTHS[row] for row in batch]) for batch in batches()]
    thirds = [np.mean(part) for part in np.array_split(means, 3)]
    assert max(thirds) / min(thirds) < 1.2


def test_processes_share_the_batches_of_one():
    shares = [batches(process=process, processes=2) for process in range(2)]
    for whole, first, second in zip(batches(), *shares, strict=True):
        assert len(first) == len(second) == 4
        assert sorted(first + second) == sorted(whole)


@pytest.mark.parametrize("prompts", [1, 3, 9])
def test_fewer_prompts_than_a_batch_are_seen_again(prompts):
    seen = list(LengthBatches([10] * prompts, 8, seed=0))
    assert all(len(batch) == 8 for batch in seen)
    assert {row for batch in seen for row in batch} == set(range(prompts))
