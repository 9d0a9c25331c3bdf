import json

import numpy as np
import pytest
from scipy.special import expit

from engine.evaluation.calibration import (
    Calibration,
    best_threshold,
    calibrate,
    expected_calibration_error,
    fit_isotonic,
    fit_temperature,
)
from engine.evaluation.metrics import visit_metrics


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


# ---------------------------------------------------------------- isotonic


def test_isotonic_worked_by_hand():
    # Logits -2 … 3; given are those at 0, 2 and 3. With the made-up success at -2 and failure at
    # 3, the steps are {-2, -2, -1}, {0, 1} and {2, 3, 3}.
    logits, truth = np.array([[-2.0, -1, 0, 1, 2, 3]]), np.array([[0, 0, 1, 0, 1, 1]])
    points = fit_isotonic(logits, truth)
    assert [value for _, value in points] == pytest.approx([1 / 3, 1 / 2, 2 / 3])
    assert [logit for logit, _ in points] == pytest.approx([-5 / 3, 1 / 2, 8 / 3])


def test_isotonic_mends_a_bend_that_no_temperature_can(honest):
    logits, truth = honest
    bent = logits + 2 * np.tanh(logits) + 1  # too sure, and shifted
    tempered = Calibration(fit_temperature(bent, truth)).probability(bent)
    isotonic = Calibration(isotonic=fit_isotonic(bent[:200], truth[:200])).probability(bent[200:])
    assert expected_calibration_error(tempered, truth) > 0.04
    assert expected_calibration_error(isotonic, truth[200:]) < 0.02


def test_isotonic_keeps_the_order_and_stays_off_zero_and_one(honest):
    logits, truth = honest
    points = fit_isotonic(logits, truth)
    ordered = np.linspace(logits.min() - 5, logits.max() + 5, 5000)
    probability = Calibration(isotonic=points).probability(ordered)
    assert (np.diff(probability) >= 0).all()
    within = (ordered > points[0][0]) & (ordered < points[-1][0])
    assert (np.diff(probability[within]) > 0).all()
    assert 0 < probability[0] < probability[-1] < 1


@pytest.mark.parametrize("given", [0, 1])
def test_isotonic_of_one_outcome_alone_is_one_level(given):
    (point,) = fit_isotonic(np.array([[0.0, 1.0, 2.0]]), np.full((1, 3), given))
    assert point[1] == pytest.approx([1 / 5, 4 / 5][given])
    assert (
        Calibration(isotonic=(point,)).probability(np.array([-9.0, 9.0])).tolist()
        == [pytest.approx(point[1])] * 2
    )


def test_ties_of_calibrated_probabilities_do_not_change_the_ranking():
    """Two groups share a probability; the model still ranks the given one first."""
    logits, truth = np.array([[5.0, 4.0, 0.0]]), np.array([[True, False, False]])
    flat = Calibration(isotonic=((0.0, 0.1), (3.0, 0.9)))
    probability = flat.probability(logits)
    selected = flat.select(probability)
    assert probability[0, 0] == probability[0, 1]
    tied = visit_metrics(truth, probability, selected)["prauc"]
    ranked = visit_metrics(truth, probability, selected, ranking=logits)["prauc"]
    assert (tied[0], ranked[0]) == (0.5, 1)


# ---------------------------------------------------------------- the whole, and its JSON


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_calibration_survives_json(honest, method):
    logits, truth = honest
    fitted = calibrate(logits, truth, np.arange(400) // 2, method=method)
    read = Calibration.from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)))
    assert read == fitted
    assert (read.isotonic is not None) == (method == "isotonic")
    np.testing.assert_array_equal(read.probability(logits), fitted.probability(logits))
    assert read.prediction_set.patients == 200
    assert read.prediction_set.coverage == 0.9


def test_sets_do_not_depend_on_the_way_probabilities_are_calibrated(honest):
    logits, truth = honest
    one, other = (
        calibrate(logits, truth, np.arange(400), method=method)
        for method in ("temperature", "isotonic")
    )
    assert one.prediction_set == other.prediction_set


def test_a_calibration_of_before_has_no_isotonic_and_no_sets():
    old = Calibration.from_json({"temperature": 1.07, "threshold": 0.31})
    assert (old.isotonic, old.prediction_set) == (None, None)
    assert old.to_json() == {"temperature": 1.07, "threshold": 0.31}


def test_damaged_calibrations_are_refused():
    for wrong in ([], [[0, 0.5], [0, 0.6]], [[0, 0.5], [1, 0.4]], [[0, 1.5]], [[float("nan"), 0]]):
        with pytest.raises(ValueError, match="isotonic"):
            Calibration.from_json({"isotonic": wrong})
    with pytest.raises(TypeError):
        Calibration.from_json({"prediction_set": {"coverage": 0.9}})
    with pytest.raises(TypeError):
        Calibration.from_json({"tempurature": 1.0})
