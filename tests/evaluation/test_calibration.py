import numpy as np
import pytest
from scipy.special import expit

from engine.evaluation.calibration import (
    Calibration,
    best_threshold,
    expected_calibration_error,
    fit_temperature,
)


@pytest.fixture
def honest():
    """Logits whose sigmoid is the true probability of each label."""
    generator = np.random.default_rng(3)
    logits = generator.normal(scale=2, size=(400, 50))
    return logits, generator.random(logits.shape) < expit(logits)


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_temperature_recovers_a_known_scaling(honest, scale):
    logits, truth = honest
    assert fit_temperature(logits * scale, truth) == pytest.approx(scale, rel=0.05)


def test_temperature_lowers_the_calibration_error(honest):
    logits, truth = honest
    raw = Calibration().probability(logits * 3)
    scaled = Calibration(fit_temperature(logits * 3, truth)).probability(logits * 3)
    before = expected_calibration_error(raw, truth)
    assert expected_calibration_error(scaled, truth) < before / 3


def test_extreme_logits_neither_overflow_nor_warn():
    with np.errstate(all="raise", under="ignore"):
        assert fit_temperature(np.array([[900.0, -900.0]]), np.array([[1, 0]])) > 0
        assert Calibration(0.5).probability(np.array([-2000.0, 2000.0])).tolist() == [0, 1]


def test_threshold_separates_what_can_be_separated():
    probability = np.array([[0.80, 0.71, 0.60], [0.90, 0.20, 0.75]])
    truth = np.array([[1, 1, 0], [1, 0, 1]])
    threshold = best_threshold(probability, truth)
    assert 0.60 < threshold <= 0.71
    assert threshold == 0.61  # of the equals, the one nearest to one half
    assert (Calibration(threshold=threshold).select(probability) == truth).all()


def test_threshold_weighs_visits_equally():
    # Ten groups at 0.3 are right in one long visit and wrong in two short ones.
    probability = np.tile([0.9] + [0.3] * 10, (3, 1))
    truth = np.zeros((3, 11), dtype=bool)
    truth[:, 0] = True
    truth[0] = True
    assert best_threshold(probability, truth) > 0.3


def test_calibration_error_worked_by_hand():
    probability = np.array([[0.95, 0.95], [0.05, 0.05]])
    truth = np.array([[1, 0], [0, 0]])
    # Bin of 0.95: said 0.95, came true 0.5. Bin of 0.05: said 0.05, came true 0.
    assert expected_calibration_error(probability, truth, bins=10) == pytest.approx(
        (0.45 + 0.05) / 2
    )
    assert expected_calibration_error(np.array([[1.0, 0.0]]), np.array([[1, 0]])) == 0


def test_nothing_to_measure():
    nothing = np.zeros((0, 4))
    assert expected_calibration_error(nothing, nothing) is None
    with pytest.raises(ValueError, match="validation part of the cohort is empty"):
        fit_temperature(nothing, nothing)
    with pytest.raises(ValueError, match="validation part of the cohort is empty"):
        best_threshold(nothing, nothing)


def test_impossible_calibrations_are_refused():
    for wrong in ({"temperature": 0.0}, {"temperature": float("nan")}, {"threshold": 1.2}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Calibration(**wrong)
    with pytest.raises(ValueError, match="not finite"):
        fit_temperature(np.array([[np.inf]]), np.array([[1]]))
