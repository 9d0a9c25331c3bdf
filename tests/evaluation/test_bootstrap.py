import numpy as np
import pytest

from engine.evaluation.bootstrap import PatientBootstrap, interval, paired_difference


def width(found):
    return found["high"] - found["low"]


@pytest.fixture
def values():
    return np.random.default_rng(1).random(400)


def test_the_mean_lies_inside_and_a_seed_repeats(values):
    patients = np.arange(400) // 2
    found = interval(values, patients, seed=7)
    assert found["low"] < found["mean"] < found["high"]
    assert found["mean"] == pytest.approx(values.mean())
    assert interval(values, patients, seed=7) == found
    assert interval(values, patients, seed=8) != found


def test_width_agrees_with_theory(values):
    standard_error = values.std() / np.sqrt(400)
    found = interval(values, np.arange(400), resamples=4000)
    assert width(found) == pytest.approx(2 * 1.96 * standard_error, rel=0.1)


def test_fewer_patients_widen_the_interval(values):
    few = interval(values[:40], np.arange(40))
    many = interval(values, np.arange(400))
    assert width(few) > 2 * width(many)


def test_duplicate_visits_of_a_patient_add_no_certainty(values):
    patients = np.arange(400)
    repeated, owner = np.tile(values, 4), np.tile(patients, 4)
    by_patient = interval(repeated, owner)
    by_visit = interval(repeated, np.arange(1600))
    assert width(by_patient) > 1.7 * width(by_visit)
    assert width(by_patient) == pytest.approx(width(interval(values, patients)))


def test_estimate_is_per_visit_not_per_patient():
    values = np.array([1.0, 0.0, 0.0, 0.0])
    patients = np.array(["a", "b", "b", "b"])
    found = interval(values, patients)
    assert found["mean"] == 0.25
    assert (found["low"], found["high"]) == (0, 1)  # resamples of only b, or only a


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        level = generator.normal(size=60)  # a patient's own level, shared by three visits
        values = np.repeat(level, 3) + generator.normal(size=180)
        found = interval(values, np.repeat(np.arange(60), 3), resamples=300, seed=trial)
        covered += found["low"] <= 0 <= found["high"]
    assert 0.89 <= covered / 200 <= 0.99


def test_identical_predictions_differ_by_zero(values):
    found = paired_difference(values, values.copy(), np.arange(400) // 3)
    assert found == {"difference": 0, "low": 0, "high": 0}


def test_pairing_narrows_the_difference(values):
    better = values + 0.01
    found = paired_difference(better, values, np.arange(400))
    assert found["difference"] == pytest.approx(0.01)
    assert 0 < found["low"] <= found["high"] < 0.011


def test_too_few_patients_have_no_interval():
    nothing = {"mean": None, "low": None, "high": None}
    assert interval(np.array([]), np.array([])) == nothing
    assert interval(np.array([0.2, 0.4]), np.array(["a", "a"])) == {
        "mean": pytest.approx(0.3),
        "low": None,
        "high": None,
    }


def test_a_wrong_number_of_values_is_refused():
    with pytest.raises(ValueError, match="expected 3 values"):
        PatientBootstrap(["a", "b", "c"]).interval([0.1, 0.2])


def test_the_mean_of_patients_counts_a_frequent_patient_once():
    patients = np.array(["a"] * 9 + ["b"])
    values = np.array([0.0] * 9 + [1.0])
    found = PatientBootstrap(patients, resamples=200).interval_of_patients(values)
    assert found == {"mean": 0.5, "low": 0, "high": 1}
    one = PatientBootstrap(patients[:9], resamples=200).interval_of_patients(values[:9])
    assert one == {"mean": 0, "low": None, "high": None}
    nobody = PatientBootstrap(patients[:0], resamples=200).interval_of_patients(values[:0])
    assert nobody == {"mean": None, "low": None, "high": None}
