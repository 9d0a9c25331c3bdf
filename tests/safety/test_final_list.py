"""The list that is given after all: groups and typed drugs as one set, nothing dropped unsaid."""

import pytest

from engine.safety.final_list import check_final


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Eliquis 5 mg", "apixaban"),
        ("aspirin 81 mg and clopidogrel 75 mg", "aspirin low dose, clopidogrel"),
        ("sulfamethoxazole/trimethoprim", "sulfamethoxazole/trimethoprim"),
        ("warfarin\nheparin", "heparin, warfarin"),
        ("warfarin or heparin", "heparin, warfarin"),
    ],
)
def test_every_drug_of_a_typed_text_is_read_and_said(text, read):
    assert check_final([], [text]).readings == (f"“{text}” is read as {read}.",)


def test_a_typed_drug_meets_the_accepted_groups_and_what_the_patient_is_on():
    checked = check_final(["M01A"], ["Coumadin 5 mg"], already_on=["Amiodarone", "C01B"])
    whats = [alert.what for alert in checked.report.alerts]
    assert any("(M01A)" in what and "warfarin" in what for what in whats)
    assert "warfarin with amiodarone, given at the last stay (it may have been stopped)" in whats
    assert checked.medications == 2 and checked.pairs.major == 1


def test_two_typed_drugs_are_checked_with_each_other():
    assert check_final([], ["simvastatin", "clarithromycin"]).report.interrupts
    assert check_final([], ["simvastatin and clarithromycin, see letter"]).report.interrupts


def test_what_names_no_drug_is_said_and_never_taken_for_checked():
    checked = check_final(["C03C"], ["a lower dose", "apixaban, see letter"])
    assert checked.readings[0] == "“a lower dose” names no drug that is known here: not checked."
    assert checked.readings[1].endswith("read as apixaban; not checked: see letter.")
    said = " ".join(checked.report.not_checked)
    assert "Not recognised, and so not checked: a lower dose, see letter." in said


def test_a_typed_drug_of_an_accepted_group_is_pointed_out():
    (said,) = check_final(["B01A"], ["apixaban"]).readings
    assert "Accepted as well is Antithrombotic agents (B01A)" in said
