"""Allergies: typed in as wards write them, coded as diagnoses, and how far they reach."""

import pytest

from engine.safety.allergies import understand
from engine.safety.check import check
from engine.safety.facts import PatientFacts
from engine.safety.rules import SafetyRules

RULES = SafetyRules.load()


def alerts(drug: str, *allergies: str, **facts):
    return check([drug], PatientFacts(allergies=allergies, **facts)).alerts


@pytest.mark.parametrize(
    "allergy, drug, rule, severity",
    [
        ("Penicillin (anaphylaxis)", "Amoxicillin", "allergy-penicillin", "contraindicated"),
        ("PCN", "Piperacillin-Tazobactam", "allergy-penicillin", "contraindicated"),
        ("penicillins - hives", "CefTRIAXone", "allergy-penicillin-cephalosporin", "moderate"),
        (
            *("amoxicillin", "Cephalexin"),
            *("allergy-penicillin-cephalosporin-same-side-chain", "major"),
        ),
        ("penicillin", "Meropenem", "allergy-penicillin-carbapenem", "moderate"),
        ("Sulfa", "Sulfameth/Trimethoprim DS", "allergy-sulfonamide-antibiotic", "contraindicated"),
        ("sulfa drugs", "Sulfasalazine", "allergy-sulfonamide-sulfasalazine", "contraindicated"),
        ("aspirin", "Ketorolac", "allergy-nsaid", "major"),
        ("Codeine", "Morphine Sulfate", "allergy-opioid-same-structure", "major"),
        ("lisinopril (angioedema)", "Enalapril", "allergy-ace-inhibitor", "contraindicated"),
        ("vancomycin", "Vancomycin", "allergy-same-drug", "contraindicated"),
        ("allergic to Bactrim", "Sulfadiazine", "allergy-sulfonamide-antibiotic", None),
        ("phenytoin: rash", "Carbamazepine", "allergy-aromatic-antiepileptic", "major"),
        ("contrast dye", "Iohexol", "allergy-iodinated-contrast", "major"),
    ],
)
def test_an_allergy_speaks_against_a_drug(allergy, drug, rule, severity):
    first = alerts(drug, allergy)[0]
    assert first.rule == rule
    assert first.severity == (severity or "contraindicated")
    assert first.kind == "allergy" and allergy in first.what


@pytest.mark.parametrize(
    "allergy, drug",
    [
        ("penicillin", "CefAZolin"),
        ("penicillin", "Aztreonam"),
        ("sulfa", "Furosemide"),
        ("shellfish", "Iohexol"),
        ("codeine", "Fentanyl Citrate"),
        ("NKDA", "Amoxicillin"),
        ("latex", "Warfarin"),
    ],
)
def test_an_allergy_does_not_reach_beyond(allergy, drug):
    assert alerts(drug, allergy) == ()


def test_cross_reactivity_is_worded_with_its_odds():
    (alert,) = alerts("CefTRIAXone", "penicillin")
    assert alert.tier == "folded" and "2 in 100" in alert.why


@pytest.mark.parametrize("reaction", ("nausea", "GI upset", "nausea and vomiting"))
def test_a_side_effect_is_one_step_milder_and_says_so(reaction):
    (alert,) = alerts("Amoxicillin", f"amoxicillin ({reaction})")
    assert alert.severity == "major" and alert.tier != "interrupt"
    assert "a side effect rather than an allergy" in alert.why


def test_a_reaction_beyond_a_side_effect_keeps_its_weight():
    (alert,) = alerts("Amoxicillin", "amoxicillin (nausea, anaphylaxis)")
    assert alert.severity == "contraindicated"


@pytest.mark.parametrize("code", ("10:Z880", "9:V140"))
def test_an_allergy_coded_as_a_diagnosis_counts_also_from_an_earlier_visit(code):
    for where in ("diagnoses", "past_diagnoses"):
        report = check(["Ampicillin"], PatientFacts(**{where: (code,)}))
        assert report.alerts[0].rule == "allergy-penicillin"
        assert any("only those coded" in line for line in report.not_checked)


def test_an_unnamed_opioid_is_folded():
    (alert,) = check(["Oxycodone"], PatientFacts(diagnoses=("10:Z885",))).alerts
    assert alert.tier == "folded" and "without naming it" in alert.why


def test_what_was_not_understood_is_said():
    report = check(["Warfarin"], PatientFacts(allergies=("zzzz <b>", "shellfish")))
    said = " ".join(report.not_checked)
    assert "“zzzz <b>” was not understood" in said and "“shellfish”: no cross-reaction" in said


def test_an_allergy_and_a_group():
    (certain,) = alerts("J01C", "penicillin")
    assert certain.tier == "interrupt" and "every drug of J01C" in certain.scope
    (possible,) = [one for one in alerts("J01X", "vancomycin") if one.severity == "contraindicated"]
    assert possible.tier == "folded" and "members of J01X" in possible.scope


@pytest.mark.parametrize("entry", ("", "  ", "x" * 5000, "()", "-", ":", "J01C", "“”", "\x00"))
def test_any_text_is_read(entry):
    understand(entry, RULES)
    assert check(["Amoxicillin"], PatientFacts(allergies=(entry,))).not_checked


def test_a_group_code_is_an_allergy_to_its_drugs():
    assert alerts("Amoxicillin", "J01C")[0].severity == "contraindicated"
