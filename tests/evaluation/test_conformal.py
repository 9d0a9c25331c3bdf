"""Prediction sets: worked by hand, what cannot be promised, and that the promise is kept."""

import numpy as np
import pytest

from engine.evaluation.conformal import SetRule, fit_sets, per_patient, share_held


def one_group_each(logits):
    """One visit a patient; its only given group has this logit, beside one not given."""
    given = np.asarray(logits, dtype=float)
    both = np.column_stack([given, np.full(len(given), 99.0)])
    truth = np.tile([True, False], (len(given), 1))
    return both, truth, np.arange(len(given))


def test_the_threshold_worked_by_hand():
    # 19 patients at 80 %: (19/20) · missed/19 + 1/20 ≤ 0.2, so 3 patients may be missed.
    logits, truth, patients = one_group_each(np.arange(19))
    rule = fit_sets(logits, truth, patients, coverage=0.8)
    assert rule == SetRule(coverage=0.8, logit=3.0, patients=19)
    assert (~rule.sets(logits)[:, 0]).sum() == 3


def test_the_fewest_patients_that_allow_a_promise():
    assert fit_sets(*one_group_each(np.arange(8)), coverage=0.9) is None
    nine = fit_sets(*one_group_each(np.arange(9)), coverage=0.9)
    assert nine.logit == 0  # nobody of nine may be missed


def test_a_patient_counts_once_however_many_visits():
    logits, truth, patients = one_group_each(np.arange(19))
    frequent = np.repeat(0, 50)  # patient 0, with the lowest logit, comes fifty times more
    logits = np.vstack([logits, np.tile([0.0, 99.0], (50, 1))])
    truth = np.vstack([truth, np.tile([True, False], (50, 1))])
    rule = fit_sets(logits, truth, np.concatenate([patients, frequent]), coverage=0.8)
    assert rule.logit == 3
    assert rule.patients == 19


def test_equal_logits_are_missed_together():
    logits, truth, patients = one_group_each([0, 0, 0, 0, 1, *range(5, 19)])
    assert fit_sets(logits, truth, patients, coverage=0.8).logit == 0


def test_groups_outside_the_vocabulary_count_as_missed():
    logits, truth, patients = one_group_each(np.arange(19))
    missing = np.zeros(19, dtype=int)
    missing[18] = 1  # half of what this patient was given: 0.5 of the 3 is spent
    assert fit_sets(logits, truth, patients, 0.8, missing).logit == 2
    assert fit_sets(logits, truth, patients, 0.8, np.full(19, 1)) is None


def test_nothing_given_promises_nothing():
    logits, truth, patients = one_group_each(np.arange(19))
    assert fit_sets(logits, np.zeros_like(truth), patients, 0.8) is None


def test_a_visit_without_a_given_group_misses_nothing():
    truth = np.array([[True, True, False], [False, False, False]])
    sets = np.array([[True, False, True], [False, True, False]])
    assert share_held(sets, truth).tolist() == [0.5, 1]
    assert share_held(sets, truth, np.array([2, 1])).tolist() == [0.25, 0]


def test_visits_are_averaged_within_their_patient():
    means = per_patient(np.array([1.0, 0.0, 0.5]), np.array(["b", "b", "a"]))
    assert means.tolist() == [0.5, 0.5]


def test_impossible_questions_are_refused():
    logits, truth, patients = one_group_each(np.arange(19))
    for coverage in (0, 1, 1.5):
        with pytest.raises(ValueError, match="coverage"):
            fit_sets(logits, truth, patients, coverage)
    with pytest.raises(ValueError, match="validation part of the cohort is empty"):
        fit_sets(logits[:0], truth[:0], patients[:0], 0.9)
    with pytest.raises(ValueError, match="not finite"):
        fit_sets(np.full_like(logits, np.nan), truth, patients, 0.9)
    for wrong in ({"logit": float("inf")}, {"patients": 0}, {"coverage": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SetRule(**{"coverage": 0.9, "logit": 0.0, "patients": 5} | wrong)


def draw(generator, patients):
    """Patients of one to six visits who differ in how well a model reads all their visits."""
    visits = generator.integers(1, 7, patients)
    patient = np.repeat(np.arange(patients), visits)
    skill = np.repeat(generator.normal(2.0, 1.5, patients), visits)
    truth = generator.random((len(patient), 12)) < 0.3
    logits = generator.normal(size=truth.shape) + skill[:, None] * truth
    return logits, truth, patient


@pytest.mark.parametrize("patients", [20, 60])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_new_patients_are_held_as_promised_over_many_draws(patients, coverage):
    """The mean over draws is the guaranteed quantity; a single draw may fall short."""
    held, smallest = [], []
    for seed in range(400):
        generator = np.random.default_rng(seed)
        rule = fit_sets(*draw(generator, patients), coverage)
        logits, truth, patient = draw(generator, 200)
        held.append(per_patient(share_held(rule.sets(logits), truth), patient).mean())
        smallest.append(rule.sets(logits).mean())
    error = np.std(held) / np.sqrt(len(held))
    assert np.mean(held) >= coverage - 2 * error
    # No more cautious than the correction of 1 / (n + 1) and one patient's share explain.
    assert np.mean(held) <= coverage + 2 / (patients + 1) + 2 * error
    assert np.mean(smallest) < 0.9


def test_without_the_correction_for_few_patients_the_promise_would_be_broken():
    """Guards the + 1: the plain share on the patients it is set on is too hopeful."""
    held = []
    for seed in range(400):
        generator = np.random.default_rng(seed)
        logits, truth, patient = draw(generator, 20)
        rule = fit_sets(logits, truth, patient, 0.9)
        looser = fit_sets(logits, truth, patient, 0.9 - 1 / 21)  # what 0.9 allows without it
        new_logits, new_truth, new = draw(generator, 200)
        assert looser.logit >= rule.logit
        held.append(per_patient(share_held(looser.sets(new_logits), new_truth), new).mean())
    assert np.mean(held) < 0.9
