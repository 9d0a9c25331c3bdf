"""A candidate against the champion: differences, intervals, and verdicts in words."""

import json
from dataclasses import replace

import numpy as np
import pytest

from engine.evaluation import comparison
from engine.evaluation.bootstrap import PatientBootstrap
from engine.evaluation.calibration import Calibration, expected_calibration_error
from engine.evaluation.comparison import CALIBRATION_ERROR, Prediction, compare
from engine.evaluation.metrics import jaccard
from engine.records.labels import label_matrix
from engine.records.vocabulary import Vocabulary

PATIENTS = 60


@pytest.fixture
def visits(make_visit):
    """Sixty patients, half women, of whom every other one returns; two of four groups each."""
    found = []
    for number in range(PATIENTS):
        groups = ("A02B", "B01A") if number % 3 else ("B01A", "C07A")
        sex = "F" if number % 2 else "M"
        first = make_visit(f"{number:02}", groups, sex=sex)
        found.append(first)
        if number % 2:
            found.append(make_visit(f"{number:02}", groups, sex=sex, history=[first]))
    return found


def answers(visits, vocabulary, mistaken=lambda visit: False, sureness=3.0, seed=0):
    """One model's answers: right but for noise, and the other way round where mistaken."""
    truth, _ = label_matrix(visits, vocabulary)
    noise = np.random.default_rng(seed).normal(0, 1.0, truth.shape)
    wrong = np.array([mistaken(visit) for visit in visits])[:, None]
    logits = np.where(truth ^ wrong, sureness, -sureness) + noise
    probability = Calibration().probability(logits)
    return Prediction(vocabulary, logits, probability, probability >= 0.5)


def pair(*arguments, **options):
    return {
        "teacher": answers(*arguments, **options, seed=1),
        "student": answers(*arguments, **options, seed=2),
    }


def line(report, model, metric, group):
    return next(
        found
        for found in report["lines"]
        if (found["model"], found["metric"], found["group"]) == (model, metric, group)
    )


def test_a_pair_against_itself_is_no_clear_difference_anywhere(visits, vocabulary):
    same = pair(visits, vocabulary)
    report = compare(visits, same, same, "f" * 64)
    assert {found["verdict"] for found in report["lines"]} == {"no clear difference"}
    assert {found["difference"] for found in report["lines"]} == {0.0}
    assert report["worse_on"] == []
    assert report["settings"]["fingerprint"] == "f" * 64
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_worse_for_first_visits_is_said_in_those_words(visits, vocabulary):
    candidate = pair(visits, vocabulary, lambda visit: visit.is_first and visit.patient_id > "20")
    report = compare(visits, candidate, pair(visits, vocabulary))
    first = line(report, "teacher", "jaccard", "first_visit")
    assert first["verdict"] == "worse"
    assert first["high"] < 0
    assert first["sentence"].startswith("worse for first visits: −0.")
    low, high = (comparison.signed(first[end]) for end in ("low", "high"))
    assert first["sentence"].endswith(f" [{low}, {high}]")
    assert line(report, "teacher", "jaccard", "returning")["verdict"] == "no clear difference"
    assert f"Teacher, Jaccard: {first['sentence']}" in report["worse_on"]
    assert any(words.startswith("Student, PRAUC: worse for first") for words in report["worse_on"])


def test_better_is_never_on_the_list_of_what_is_worse(visits, vocabulary):
    champion = pair(visits, vocabulary, lambda visit: visit.patient_id > "20")
    report = compare(visits, pair(visits, vocabulary), champion)
    assert line(report, "student", "prauc", "overall")["verdict"] == "better"
    assert report["worse_on"] == []


def test_difference_and_interval_are_those_of_paired_patients(visits, vocabulary):
    candidate, champion = answers(visits, vocabulary, seed=5), answers(visits, vocabulary, seed=6)
    report = compare(
        visits,
        dict.fromkeys(comparison.MODELS, candidate),
        dict.fromkeys(comparison.MODELS, champion),
    )
    truth, _ = label_matrix(visits, vocabulary)
    a, b = jaccard(truth, candidate.selected), jaccard(truth, champion.selected)
    wanted = PatientBootstrap(np.array([visit.patient_id for visit in visits])).paired_difference(
        a, b
    )
    found = line(report, "teacher", "jaccard", "overall")
    assert {key: found[key] for key in wanted} == wanted
    assert found["candidate"] == pytest.approx(a.mean())
    assert found["champion"] == pytest.approx(b.mean())


def test_what_is_guarded_is_both_models_where_it_matters(visits, vocabulary):
    same = pair(visits, vocabulary)
    guarded = compare(visits, same, same)["guarded"]
    assert {(one["model"], one["metric"], one["group"]) for one in guarded} == {
        (model, metric, group)
        for model in ("teacher", "student")
        for metric in ("prauc", "jaccard")
        for group in ("overall", "first_visit", "returning")
    }


def test_a_metric_that_is_not_guarded_does_not_stop_a_promotion(visits, vocabulary):
    champion = pair(visits, vocabulary)
    shy = {
        name: replace(one, probability=0.5 + (one.probability - 0.5) / 4)
        for name, one in champion.items()
    }  # the same order and the same choices, only less sure than it should be
    report = compare(visits, shy, champion)
    calibration = line(report, "teacher", CALIBRATION_ERROR, "overall")
    assert calibration["verdict"] == "worse"
    assert calibration["difference"] > 0  # more of it is worse
    assert calibration["low"] <= calibration["difference"] <= calibration["high"]
    assert report["worse_on"] == []
    turned = compare(visits, champion, shy)
    assert line(turned, "teacher", CALIBRATION_ERROR, "overall")["verdict"] == "better"


def test_the_calibration_errors_are_those_of_the_evaluation(visits, vocabulary):
    candidate, champion = pair(visits, vocabulary), pair(visits, vocabulary, sureness=0.5)
    report = compare(visits, candidate, champion)
    truth, _ = label_matrix(visits, vocabulary)
    women = np.array([visit.sex == "F" for visit in visits])
    found = line(report, "student", CALIBRATION_ERROR, "sex: F")
    for side, said in (("candidate", candidate), ("champion", champion)):
        wanted = expected_calibration_error(said["student"].probability[women], truth[women])
        assert found[side] == pytest.approx(wanted)


def test_groups_are_named_and_counted_and_small_ones_left_out(visits, make_visit, vocabulary):
    few = [make_visit(f"old{number}", ["A02B"], age=85) for number in range(9)]
    everyone = visits + few
    same = pair(everyone, vocabulary)
    counts = compare(everyone, same, same)["counts"]
    assert counts["overall"] == {"title": "Overall", "visits": 99, "patients": 69}
    assert counts["returning"]["patients"] == 30
    assert {"sex: F", "sex: M", "age_band: 60-69", "language: unknown"} <= counts.keys()
    assert "age_band: 80-89" not in counts


def test_groups_that_one_pair_lacks_count_as_missed_in_it(visits, vocabulary):
    smaller = Vocabulary(vocabulary.diagnoses, (), ("A02B", "B01A"), {})
    candidate, champion = pair(visits, vocabulary), pair(visits, smaller)
    report = compare(visits, candidate, champion)
    recall = line(report, "teacher", "jaccard", "overall")
    assert recall["verdict"] == "better"
    assert recall["champion"] < 0.9  # a third of the visits hold C07A, which it cannot name
    assert any("champion does not know C07A, N02B" in note for note in report["notes"])

    truth, _ = label_matrix(visits, vocabulary)
    padded = np.hstack([champion["teacher"].probability, np.zeros((len(visits), 2))])
    found = line(report, "teacher", CALIBRATION_ERROR, "overall")
    assert found["champion"] == pytest.approx(expected_calibration_error(padded, truth))


def test_a_group_without_visits_is_not_measured(make_visit, vocabulary):
    visits = [make_visit(str(number), ["A02B"]) for number in range(3)]
    same = pair(visits, vocabulary)
    report = compare(visits, same, same)
    for metric in comparison.METRICS:
        returning = line(report, "teacher", metric, "returning")
        assert returning["candidate"] is returning["difference"] is returning["low"] is None
        assert returning["verdict"] == "no clear difference"
        assert returning["sentence"] == "not measured for returning patients: no visits"


@pytest.mark.parametrize("patients", [1, 9, 10])
def test_fewer_than_ten_patients_get_no_verdict(make_visit, vocabulary, patients):
    visits = [make_visit(str(number), ["A02B"]) for number in range(patients)]
    wrong = pair(visits, vocabulary, lambda visit: True, sureness=9.0)
    report = compare(visits, wrong, pair(visits, vocabulary, sureness=9.0))
    found = line(report, "teacher", "jaccard", "overall")
    assert found["difference"] == -1.0
    assert (found["low"] is None) == (patients == 1)
    assert found["verdict"] == ("worse" if patients == 10 else "no clear difference")
    assert found["sentence"].endswith("too few to tell") == (patients < 10)
    assert bool(report["worse_on"]) == (patients == 10)


def test_there_is_nothing_to_compare_without_visits(vocabulary):
    with pytest.raises(ValueError, match="no visits"):
        compare([], {}, {})


def test_the_note_counts_what_chance_alone_would_mark(visits, vocabulary):
    same = pair(visits, vocabulary)
    report = compare(visits, same, same)
    tested = sum(found["low"] is not None for found in report["lines"])
    assert f"Of {tested} intervals of 95%" in report["notes"][0]
