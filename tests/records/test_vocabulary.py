"""Vocabularies are separate, keep their numbers through a file, and know what they do not know."""

import pytest

from engine.errors import WorkbenchError
from engine.records.vocabulary import Vocabulary


def test_numbers_start_at_one_and_unknown_is_zero(make_cohort):
    vocabulary = Vocabulary.from_visits(make_cohort().samples())
    codes = vocabulary.diagnoses
    assert codes == tuple(sorted(codes))
    assert [vocabulary.diagnosis_index(code) for code in codes] == list(range(1, len(codes) + 1))
    assert vocabulary.diagnosis_index("10:NEVERSEEN") == 0
    assert vocabulary.procedure_index("10:02703ZZ") > 0
    assert vocabulary.procedure_index("10:I5021") == 0
    assert vocabulary.profile_index("sex", "F") == 1
    assert vocabulary.profile_index("race", None) == 0
    assert vocabulary.profile_index("age_band", "20-29") == 0


def test_medications_are_columns_from_zero(make_cohort):
    vocabulary = Vocabulary.from_visits(make_cohort().samples())
    assert vocabulary.medications == ("C03C", "C07A")
    assert [vocabulary.medication_index(atc) for atc in ("C03C", "C07A")] == [0, 1]
    assert vocabulary.medication_index("J01C") is None


def test_history_counts_for_the_vocabulary(make_cohort):
    latest = make_cohort().visit("1")
    assert "9:41401" in Vocabulary.from_visits([latest]).diagnoses


def test_the_cohort_stores_what_its_training_visits_give(make_cohort):
    cohort = make_cohort()
    training = [
        visit
        for patient in cohort.patient_ids()
        if cohort.split_of(patient) == "train"
        for visit in cohort.visits(patient)
    ]
    assert Vocabulary.from_visits(training) == cohort.vocabulary


def test_saved_and_loaded_it_is_the_same(make_cohort, tmp_path):
    vocabulary = Vocabulary.from_visits(make_cohort().samples())
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"diagnoses": 1}'])
def test_a_damaged_file_is_named(content, tmp_path):
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(WorkbenchError, match="vocabulary.json: is not a vocabulary"):
        Vocabulary.load(path)
