"""bf16 is given up only where the processor emulates it."""

import pytest
import torch

from engine.teacher import precision


@pytest.mark.parametrize(
    ("asked", "device", "ratio", "chosen"),
    [
        ("bf16", "cpu", 0.3, "bf16"),
        ("bf16", "cpu", 1.2, "bf16"),
        ("bf16", "cpu", 6.0, "fp32"),
        ("fp32", "cpu", 0.3, "fp32"),
        ("bf16", "cuda", 6.0, "bf16"),
    ],
)
def test_the_faster_format_is_chosen(monkeypatch, asked, device, ratio, chosen):
    monkeypatch.setattr(precision, "bf16_over_fp32", lambda: ratio)
    assert precision.faster(asked, torch.device(device)) == chosen


def test_the_measurement_is_a_ratio_made_once():
    ratio = precision.bf16_over_fp32()
    assert 0 < ratio < float("inf")
    assert precision.bf16_over_fp32() is ratio
