"""What makes the learning problem real: medications follow from the patient, with variation."""

from collections import defaultdict

import pytest

from sample_data.codes import CodeTables
from sample_data.generate import _visits
from sample_data.knowledge_base import KnowledgeBase
from sample_data.patients import create_patient
from sample_data.prescribing import Prescribers, Prescribing

PATIENTS, SEED = 350, 11


@pytest.fixture(scope="module")
def cohort():
    """Per visit: the circumstances, and the agents' formulary codes and ATC groups."""
    knowledge, codes = KnowledgeBase.load(), CodeTables.load()
    prescribers = Prescribers(SEED, knowledge)
    prescribing = Prescribing(knowledge, prescribers)
    group_of = {name: drug.group for drug in knowledge.drugs.values() for name in drug.names}
    visits = []
    for number in range(PATIENTS):
        patient = create_patient(number, SEED, knowledge, codes)
        for visit in _visits(patient, prescribing, prescribers, knowledge, codes):
            if visit.orders:
                groups = {group_of[row.drug] for row in visit.orders if row.drug in group_of}
                visits.append((visit, groups, {row.drug for row in visit.orders}))
    return visits


def _share(cohort, group, having, without=()):
    found = [
        group in groups
        for visit, groups, _ in cohort
        if visit.circumstances.issuperset(having) and not visit.circumstances & set(without)
    ]
    assert len(found) >= 8, f"too few visits with {having} to say anything"
    return sum(found) / len(found)


@pytest.mark.parametrize(
    ("condition", "group"),
    [
        ("hypothyroidism", "H03A"),
        ("type_2_diabetes", "A10A"),
        ("copd", "R03A"),
        ("heart_failure_systolic", "C07A"),
        ("coronary_disease", "C10A"),
        ("epilepsy", "N03A"),
        ("depression", "N06A"),
        ("septic_shock", "C01C"),
    ],
)
def test_indications_are_treated(cohort, condition, group):
    with_it = _share(cohort, group, {condition})
    without = _share(cohort, group, set(), {condition})
    assert with_it > 0.5
    assert with_it > 1.3 * without


def test_an_allergy_changes_the_choice(cohort):
    allergic = _share(cohort, "J01C", {"allergy_penicillin"})
    assert allergic < 0.4 * _share(cohort, "J01C", set(), {"allergy_penicillin"})
    assert _share(cohort, "J01E", {"allergy_sulfa"}) < 0.02


def test_a_comorbidity_rules_out(cohort):
    metformin = defaultdict(list)
    for visit, _, names in cohort:
        if "type_2_diabetes" in visit.circumstances:
            kidneys_injured = "acute_kidney_injury" in visit.circumstances
            metformin[kidneys_injured].append(any("MetFORMIN" in name for name in names))
    injured = sum(metformin[True]) / len(metformin[True])
    others = sum(metformin[False]) / len(metformin[False])
    assert others > 0.1
    assert injured < 0.3 * others


def test_the_ventilated_are_sedated(cohort):
    assert _share(cohort, "N01A", {"icu", "ventilated"}) > 0.6
    assert _share(cohort, "N01A", {"medical"}) < 0.05


def test_chronic_therapy_mostly_continues(cohort):
    visits = defaultdict(list)
    for visit, groups, _ in cohort:
        visits[visit.patient.patient_id].append((visit.admitted, groups))
    kept = again = 0
    for timeline in visits.values():
        timeline.sort(key=lambda item: item[0])
        for (_, before), (_, after) in zip(timeline, timeline[1:], strict=False):
            if "H03A" in before:
                kept += 1
                again += "H03A" in after
    assert kept >= 8
    assert 0.75 < again / kept <= 1.0


def test_no_two_visits_with_the_same_problem_are_treated_alike(cohort):
    """Prescriber variation and noise: no model can be perfect."""
    treated = {
        frozenset(groups)
        for visit, groups, _ in cohort
        if "heart_failure_systolic" in visit.circumstances
    }
    visits = sum("heart_failure_systolic" in visit.circumstances for visit, _, _ in cohort)
    assert len(treated) > 0.95 * visits
