"""Splits are by patient, seeded, and do not move when the rows or the cohort do."""

import pytest

from engine.records.splits import split_patients

PATIENTS = [str(number) for number in range(5000)]


def test_shares_are_as_asked():
    places = list(split_patients(PATIENTS, seed=0).values())
    assert places.count("train") / 5000 == pytest.approx(0.8, abs=0.02)
    assert places.count("validation") / 5000 == pytest.approx(0.1, abs=0.02)
    assert places.count("test") / 5000 == pytest.approx(0.1, abs=0.02)


def test_order_and_repetition_play_no_part():
    assert split_patients(PATIENTS[::-1] + PATIENTS, 3) == split_patients(PATIENTS, 3)


def test_a_patient_stays_when_others_join():
    small, large = split_patients(PATIENTS[:100], 0), split_patients(PATIENTS, 0)
    assert {patient: large[patient] for patient in small} == small


def test_another_seed_is_another_split():
    assert split_patients(PATIENTS, 1) != split_patients(PATIENTS, 2)


def test_ratios_must_add_up():
    with pytest.raises(ValueError, match="add up to 1"):
        split_patients(PATIENTS, 0, (0.8, 0.3, 0.1))
