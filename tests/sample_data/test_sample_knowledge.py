"""The knowledge files: real codes, references that resolve, drugs the engine can place."""

import pytest

from sample_data.codes import CodeTables
from sample_data.knowledge_base import KnowledgeBase

SETTINGS = {"observation", "medical", "surgical", "icu", "obstetric", "psychiatric", "oncology"}
DERIVED = {"severe", "male", "female", "elderly", "ventilated", "winter", "comfort_care"}


@pytest.fixture(scope="module")
def knowledge():
    return KnowledgeBase.load()


@pytest.fixture(scope="module")
def codes():
    return CodeTables.load()


def _beginnings(table):
    """Every prefix of every code: what a family may be named by."""
    return {code[:length] for code in table for length in range(2, 8)}


def _treatments(knowledge):
    yield from knowledge.supportive
    for condition in knowledge.conditions.values():
        yield from condition.treatments


def test_there_are_at_least_80_conditions_each_with_a_way_to_occur(knowledge):
    assert len(knowledge.conditions) >= 80
    brought = {name for c in knowledge.conditions.values() for name in (*c.brings, *c.leads_to)}
    for condition in knowledge.conditions.values():
        occurs = condition.prevalence or condition.admits or condition.complicates
        assert occurs or condition.in_cancer or condition.name in brought, condition.name


def test_every_diagnosis_code_and_family_is_real(knowledge, codes):
    unknown = []
    beginnings = _beginnings(codes.icd10_diagnoses)
    for condition in knowledge.conditions.values():
        written = (*condition.codes, *condition.reason_codes, *condition.partner_codes)
        unknown += [code for code in written if code not in codes.icd10_diagnoses]
        prefixes = (*condition.family, *(p for t in condition.treatments for p in t.codes))
        unknown += [prefix for prefix in prefixes if prefix not in beginnings]
    for group in knowledge.long_tail:
        unknown += [code for code in group.get("common", ()) if code not in codes.icd10_diagnoses]
        unknown += [prefix for prefix in group["families"] if prefix not in beginnings]
    unknown += [
        rule["code"]
        for rule in knowledge.prescribing["long_term_use"]
        if rule["code"] not in codes.icd10_diagnoses
    ]
    assert unknown == []


def test_every_procedure_code_is_real(knowledge, codes):
    unknown = []
    beginnings = _beginnings(codes.icd10_procedures)
    for procedure in knowledge.procedures.values():
        unknown += [code for code in procedure.codes if code not in codes.icd10_procedures]
        unknown += [code for code in procedure.icd9 if code not in codes.icd9_procedures]
        unknown += [prefix for prefix in procedure.tail if prefix not in beginnings]
    assert unknown == []


def test_every_circumstance_is_one_the_simulation_can_meet(knowledge):
    known = SETTINGS | DERIVED | {"cancer_active"} | set(knowledge.conditions)
    known |= set(knowledge.procedures) | set(knowledge.demographics["allergies"])
    known |= set(knowledge.prescribing["given"])
    used = {rule["when"] for rule in knowledge.prescribing["rules"]}
    for condition in knowledge.conditions.values():
        used |= set(condition.odds)
    for treatment in _treatments(knowledge):
        used |= {*treatment.when, *treatment.unless, *treatment.instead, *treatment.raise_odds}
    for group in knowledge.long_tail:
        used |= set(group.get("when", ()))
    assert used - known == set()


def test_every_agent_condition_and_procedure_named_exists(knowledge):
    drugs = set(knowledge.drugs)
    groups = {drug.group for drug in knowledge.drugs.values()}
    for treatment in _treatments(knowledge):
        options = [treatment.give, *(agents for agents in treatment.instead.values() if agents)]
        assert all(drugs.issuperset(agents) for agents in options), treatment
    for rule in knowledge.prescribing["rules"]:
        assert (drugs | groups).issuperset(rule["avoid"]), rule
        assert drugs.issuperset(rule.get("instead", {}).values()), rule
    for condition in knowledge.conditions.values():
        assert set(knowledge.procedures).issuperset(condition.procedures), condition.name
        named = (*condition.brings, *condition.leads_to, *condition.excludes)
        assert set(knowledge.conditions).issuperset(named), condition.name


def test_siblings_of_a_family_differ_in_treatment_where_their_titles_say_so(knowledge):
    def agents(name):
        return {agent for t in knowledge.conditions[name].treatments for agent in t.give}

    assert "metformin" in agents("type_2_diabetes")
    assert "metformin" not in agents("type_1_diabetes")
    assert "sacubitril_valsartan" in agents("heart_failure_systolic")
    assert "sacubitril_valsartan" not in agents("heart_failure_diastolic")
    sepsis = {t.codes: set(t.give) for t in knowledge.conditions["sepsis"].treatments if t.codes}
    assert "nafcillin" in sepsis[("A4101",)] and "nafcillin" not in sepsis[("A4102",)]


def test_drugs_cover_most_of_the_groups_a_hospital_uses(knowledge):
    groups = {drug.group for drug in knowledge.drugs.values()} - {"not_a_drug"}
    assert len(groups) >= 120
    assert all(len(group) == 4 for group in groups)


def test_the_engine_places_ward_spellings_in_the_annotated_group(knowledge):
    match = pytest.importorskip("engine.terminology.drugs").match
    agree, total = 0.0, 0.0
    for drug in knowledge.drugs.values():
        if drug.drug_type == "BASE":
            continue  # a vehicle or an infusion, as the engine sees fit
        for name, weight in drug.names.items():
            share = weight / sum(drug.names.values()) / len(drug.routes)
            for route in drug.routes:
                found = match(name, route, drug.drug_type)
                expected = found.kind == "non_drug" or not found.groups
                if drug.group != "not_a_drug":
                    expected = drug.group in found.groups
                agree += share * expected
                total += share
    assert agree / total >= 0.97
