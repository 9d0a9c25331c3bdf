"""Reliability: bins worked by hand, the calibration error they add up to, and the diagram."""

import numpy as np
import pytest

from engine.evaluation.calibration import expected_calibration_error
from engine.evaluation.reliability import diagram, reliability_bins
from engine.palette import PRIMARY, VIOLET


def test_bins_worked_by_hand():
    probability = np.array([[0.95, 0.91], [0.05, 1.0]])
    truth = np.array([[1, 0], [0, 1]])
    low, high = reliability_bins(probability, truth, bins=10)
    assert low == {"from": 0, "to": 0.1, "pairs": 1, "predicted": 0.05, "observed": 0}
    assert high["pairs"] == 3  # a probability of 1 included
    assert high["predicted"] == pytest.approx((0.95 + 0.91 + 1) / 3)
    assert high["observed"] == pytest.approx(2 / 3)
    assert (high["from"], high["to"]) == (0.9, 1)


def test_the_gaps_add_up_to_the_calibration_error():
    generator = np.random.default_rng(0)
    probability = generator.random((60, 20)) ** 3
    truth = generator.random(probability.shape) < 0.2
    bins = reliability_bins(probability, truth)
    gaps = sum(each["pairs"] * abs(each["predicted"] - each["observed"]) for each in bins)
    assert gaps / truth.size == pytest.approx(expected_calibration_error(probability, truth))
    assert sum(each["pairs"] for each in bins) == truth.size


def test_nothing_to_bin():
    assert reliability_bins(np.zeros((0, 4)), np.zeros((0, 4))) == []


def test_the_diagram_draws_every_model_in_its_colour_with_its_counts():
    bins = reliability_bins(np.array([[0.2, 0.8]]), np.array([[0, 1]]))
    figure = diagram(
        {"teacher": bins, "student": bins, "logistic_regression": bins, "absent": []},
        {"teacher": "Teacher"},
    )
    drawn = {trace.name: trace for trace in figure.data if trace.name}
    assert list(drawn) == ["says what comes true", "Teacher", "Student", "Logistic regression"]
    assert list(drawn["Teacher"].x) == pytest.approx([0.2, 0.8])
    assert list(drawn["Teacher"].y) == [0, 1]
    assert drawn["Teacher"].line.color == VIOLET
    assert drawn["Student"].line.color == PRIMARY
    counts = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert [list(trace.y) for trace in counts] == [[1, 1]] * 3
