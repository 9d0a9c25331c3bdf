"""Drawing at random: everything the simulation leaves to chance goes through here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random


def stream(*keys: object) -> Random:
    """An independent random stream for these keys; equal keys give equal streams everywhere."""
    return Random(":".join(str(key) for key in keys))


def pick(random: Random, weights: Mapping):
    """One key of the mapping, with probability proportional to its weight."""
    target = random.random() * sum(weights.values())
    for key, weight in weights.items():
        target -= weight
        if target < 0:
            return key
    return key


def one_of(random: Random, options: Sequence):
    return options[int(random.random() * len(options))]


def poisson(random: Random, mean: float) -> int:
    """Knuth's method: fine for the small means used here."""
    limit, count, product = math.exp(-mean), 0, random.random()
    while product > limit:
        count += 1
        product *= random.random()
    return count


def with_odds(chance: float, factor: float) -> float:
    """The chance after its odds are multiplied by the factor."""
    if chance <= 0 or factor <= 0:
        return 0.0
    if chance >= 1:
        return 1.0
    odds = chance / (1 - chance) * factor
    return odds / (1 + odds)


def on_curve(points: Mapping[int, float], x: float) -> float:
    """Linear interpolation between the points, constant beyond the ends."""
    previous = None
    for at, value in points.items():
        if x <= at:
            if previous is None:
                return value
            before, low = previous
            return low + (value - low) * (x - before) / (at - before)
        previous = (at, value)
    return previous[1]
