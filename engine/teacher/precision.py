"""Which number format this machine multiplies matrices faster in.

    precision = faster("bf16", torch.device("cpu"))

Processors with instructions for bf16 take a fraction of the time of fp32; those without emulate it
and take many times as long. Nothing but a measurement tells them apart reliably.
"""

import time
from functools import cache
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]
ROWS, INNER, COLUMNS = 128, 768, 1_536  # a prompt's worth of tokens through a small layer
CALLS = 5  # of each format, in turns; the shortest counts
SLOWER = 1.5  # times fp32 that bf16 must take to be given up: noise does not reach that


def faster(asked: Precision, device: torch.device) -> Precision:
    """Return the recipe's precision, or fp32 where this processor only emulates bf16.

    fp32 is the more exact of the two: logits then differ from the recipe's by what bf16 rounds.
    """
    if asked == "bf16" and device.type == "cpu" and bf16_over_fp32() > SLOWER:
        return "fp32"
    return asked


@cache
def bf16_over_fp32() -> float:
    """Return the time of a product in bf16 over that in fp32, measured once a process (0.1 s)."""
    left, right = torch.ones(ROWS, INNER), torch.ones(INNER, COLUMNS)
    pairs = {"fp32": (left, right), "bf16": (left.bfloat16(), right.bfloat16())}
    best = dict.fromkeys(pairs, float("inf"))
    for call in range(CALLS + 1):
        for name, (one, other) in pairs.items():
            start = time.perf_counter()
            one @ other
            if call:  # the first one warms up
                best[name] = min(best[name], time.perf_counter() - start)
    return best["bf16"] / best["fp32"]
