"""Alert burden: counted per 100 visits, with and without tiers, and less for what is known."""

import json

import pytest

from engine.cli import main
from engine.records.cohort import Cohort
from engine.safety.burden import as_table, measure, previous, recorded
from tests.visits import make_visit

FIRST = make_visit(
    visit_id="1",
    drugs=("Warfarin", "Amiodarone"),
    medications=("B01A", "C01B"),
    diagnoses=("10:I4891",),
)
EMPTY = make_visit(visit_id="2", drugs=(), medications=(), history=(FIRST,))
SECOND = make_visit(
    visit_id="3",
    drugs=("Warfarin", "Amiodarone", "Simvastatin", "Clarithromycin"),
    medications=("B01A", "C01B", "C10A", "J01F"),
    diagnoses=("10:I4891",),
    history=(FIRST, EMPTY),
)


def test_the_former_visit_is_the_latest_with_medications():
    assert previous(SECOND).visit_id == "1"
    assert previous(FIRST) is None
    assert recorded(FIRST) == ("Warfarin", "Amiodarone", "B01A", "C01B")
    assert recorded(FIRST, by_drug=False) == ("B01A", "C01B")


def test_the_burden_is_counted_by_tier_and_without_what_is_known():
    visits = [FIRST, SECOND]
    burden = measure(visits, {"drugs": [recorded(visit) for visit in visits]})["drugs"]
    assert burden.visits == 2 and burden.interrupted == 1
    assert burden.by_tier["interrupt"] == 1 and burden.shown["interrupt"] == 1
    assert burden.shown["inline"] < burden.by_tier["inline"]  # warfarin with amiodarone again
    assert burden.pairs >= burden.alerts == sum(burden.by_tier.values())
    figures = burden.to_json()
    assert figures["interrupt"] == 50.0 and figures["visits_interrupted"] == 50.0
    assert {"tier": "interrupt", "rule": "simvastatin-strong-cyp3a4-inhibitor", "visits": 50.0} in (
        figures["frequent"]
    )
    assert "| drugs | 2 |" in as_table({"drugs": burden})


def test_no_visits_are_no_burden():
    burden = measure([], {"drugs": []})["drugs"]
    assert burden.to_json()["interrupt"] == 0.0


def test_a_list_is_checked_at_the_command_line(capsys):
    words = ["safety", "check", "Warfarin", "Ibuprofen", "--age", "82", "--allergy", "penicillin"]
    assert main([*words, "--diagnosis", "10:N184"]) == 0
    said = capsys.readouterr().out
    assert "INLINE    major: warfarin with ibuprofen" in said
    assert "Not checked:" in said and "A clinician decides." in said
    assert main(["safety", "check", "Paracetamol", "--json", "--already-on", "Warfarin"]) == 0
    assert json.loads(capsys.readouterr().out)["alerts"] == []


def test_a_recorded_visit_is_checked(tiny_cohort, capsys):
    visit = Cohort.open(tiny_cohort).samples("test")[0]
    words = ["safety", "check", "--cohort", str(tiny_cohort), "--patient", visit.patient_id]
    assert main([*words, "--visit", visit.visit_id]) == 0
    assert "Not checked:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "nothing to check"),
        (["--patient", "1"], "--cohort and --patient belong together"),
    ],
)
def test_a_question_without_a_subject_is_answered_in_a_line(words, said, capsys):
    assert main(["safety", "check", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_burden_of_a_cohort_is_measured(tiny_cohort, tiny_pair, tmp_path, capsys):
    file = tmp_path / "out" / "burden.json"
    words = ["safety", "burden", str(tiny_cohort), "--models", str(tiny_pair)]
    assert main([*words, "--output", str(file)]) == 0
    lists = json.loads(file.read_text(encoding="utf-8"))["lists"]
    assert set(lists) == {"prescribed, as drugs", "prescribed, as groups", "student"}
    assert "Alerts per 100 visits" in capsys.readouterr().out
