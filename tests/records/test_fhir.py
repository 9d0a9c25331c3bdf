"""A FHIR bundle becomes visits: tolerant of what it holds, honest about what it passed over."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from engine.errors import WorkbenchError
from engine.records.fhir import read_bundle
from engine.terminology import rxnorm
from tests import rrf

ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"

PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "gender": "female",
    "birthDate": "1950-06-15",
    "maritalStatus": {"text": "Married"},
    "communication": [{"language": {"text": "English"}}],
}
FIRST = {
    "resourceType": "Encounter",
    "id": "e1",
    "status": "finished",
    "class": {"code": "IMP", "display": "inpatient encounter"},
    "period": {"start": "2023-01-05T10:00:00+01:00", "end": "2023-01-09"},
}
SECOND = {
    "resourceType": "Encounter",
    "id": "e2",
    "status": "in-progress",
    "class": {"code": "EMER"},
    "period": {"start": "2024-06-14"},
}


def coding(system, code, display=None):
    return {"coding": [{"system": system, "code": code, "display": display}]}


def condition(code, encounter="e2", **more):
    reference = {"encounter": {"reference": f"Encounter/{encounter}"}} if encounter else {}
    return {"resourceType": "Condition", "id": "c", "code": code, **reference, **more}


def request(name, encounter="e2", **more):
    reference = {"encounter": {"reference": f"Encounter/{encounter}"}} if encounter else {}
    concept = {"medicationCodeableConcept": {"text": name}} if name else {}
    return {"resourceType": "MedicationRequest", "id": "m", **concept, **reference, **more}


def read(*resources):
    entries = [{"resource": one} for one in resources]
    return read_bundle(json.dumps({"resourceType": "Bundle", "entry": entries}))


def test_encounters_become_visits_in_time_order_with_their_history():
    record = read(
        PATIENT,
        SECOND,
        FIRST,
        condition(coding(ICD10, "I48.91"), "e2"),
        condition(coding(ICD10, "I10"), "e1"),
        request("Metoprolol Tartrate 25 mg", "e1"),
    )
    earlier, now = record.visits
    assert (earlier.diagnoses, earlier.medications) == (("10:I10",), ("C07A",))
    assert now.diagnoses == ("10:I4891",)
    assert [past.visit_id for past in now.history] == [earlier.visit_id]
    assert now.history[0].history == ()
    assert (now.age, now.sex, now.marital_status, now.language) == (73, "F", "Married", "English")
    assert not record.unread


def test_the_day_of_birth_counts():
    at = {**SECOND, "period": {"start": "2024-06-15"}}
    assert read(PATIENT, at).visits[-1].age == 74


def test_a_snomed_code_counts_by_the_icd_code_beside_it():
    both = {
        "coding": [
            {"system": SNOMED, "code": "49436004"},
            {"system": ICD10, "code": "I48.91"},
        ]
    }
    assert read(PATIENT, SECOND, condition(both)).visits[0].diagnoses == ("10:I4891",)
    alone = read(PATIENT, SECOND, condition(coding(SNOMED, "49436004")))
    assert "SNOMED CT code without an ICD code" in alone.unread[0].why


def test_both_versions_of_icd_and_of_procedures_are_read():
    pcs = coding("http://www.cms.gov/Medicare/Coding/ICD10", "02703ZZ")
    record = read(
        PATIENT,
        SECOND,
        condition(coding("urn:oid:2.16.840.1.113883.6.103", "427.31")),
        {"resourceType": "Procedure", "id": "x", "status": "completed", "code": pcs},
    )
    assert record.visits[0].diagnoses == ("9:42731",)
    assert record.visits[0].procedures == ("10:02703ZZ",)


@pytest.mark.parametrize(
    "concept",
    [
        {"text": "warfarin 5 mg tablet"},
        coding(RXNORM, "855332", "warfarin sodium 5 MG Oral Tablet"),
        coding("http://www.whocc.no/atc", "B01AA03", "warfarin"),
    ],
    ids=["plain text", "RxNorm", "ATC"],
)
def test_drugs_are_read_by_name_and_by_code(concept):
    one = {"resourceType": "MedicationRequest", "id": "m", "medicationCodeableConcept": concept}
    assert read(PATIENT, SECOND, one).visits[-1].medications == ("B01A",)


def statement(name="Warfarin", **more):
    concept = {"medicationCodeableConcept": {"text": name}}
    return {"resourceType": "MedicationStatement", "id": "s", "status": "active", **concept, **more}


@pytest.mark.parametrize(
    "dates",
    [
        {},
        {"dateAsserted": "2024-06-14"},
        {"dateAsserted": "2024-06-14T09:00:00Z", "context": {"reference": "Encounter/e2"}},
        {"effectivePeriod": {"start": "2019-02"}, "context": {"reference": "Encounter/e2"}},
    ],
    ids=["undated", "asserted at admission", "asserted in the encounter", "taken since long ago"],
)
def test_home_medication_is_known_before_the_visit_and_no_answer_of_it(dates):
    now = read(PATIENT, SECOND, statement(**dates), request("furosemide")).visits[-1]
    assert now.medications == ("C03C",)
    assert now.previous_medications == ("B01A",)
    assert now.history[-1].drugs == ("Warfarin",)
    assert now.history[-1].admit_time < now.admit_time


def test_home_medication_hides_nothing_of_the_visit_before():
    record = read(PATIENT, FIRST, SECOND, request("metoprolol", "e1"), statement())
    assert len(record.visits) == 2
    assert record.visits[-1].medications == ()
    assert set(record.visits[-1].previous_medications) == {"B01A", "C07A"}


def test_what_was_assumed_of_a_medication_is_said():
    record = read(PATIENT, SECOND, statement(), request("furosemide", None))
    assert not record.unread
    told = {one.what: one.why for one in record.assumed}
    assert "home medication, before the visit of 14 June 2024" in told["MedicationStatement/s"]
    assert "as of the latest" in told["MedicationRequest/m"]


@pytest.mark.parametrize(
    "within",
    [
        {"effectiveDateTime": "2024-06-15"},
        {"category": {"coding": [{"code": "inpatient"}]}},
    ],
    ids=["dated", "marked inpatient"],
)
def test_what_was_taken_during_the_stay_is_of_the_stay(within):
    record = read(PATIENT, SECOND, statement(**within))
    assert record.visits[-1].medications == ("B01A",)
    assert record.visits[-1].history == ()


def test_home_medication_of_an_earlier_stay_stands_before_that_stay():
    named = statement(context={"reference": "Encounter/e1"})
    dated = statement("aspirin", dateAsserted="2023-01-06")
    record = read(PATIENT, FIRST, SECOND, named, dated, request("metoprolol", "e1"))
    home, first, second = record.visits
    assert set(home.medications) > {"B01A"}
    assert (first.medications, second.medications) == (("C07A",), ())


NDC = "http://hl7.org/fhir/sid/ndc"
BARE = [coding(NDC, "0904-4040-73"), coding(RXNORM, "243670")]  # aspirin


def test_bare_codes_are_read_with_a_drug_map(tmp_path):
    rrf.write_rrf(tmp_path / "rrf")
    rxnorm.build(tmp_path / "rrf", tmp_path / "map")
    drug_map = rxnorm.DrugMap.open(tmp_path / "map")
    for concept in BARE:
        one = request(None, medicationCodeableConcept=concept)
        bundle = json.dumps([PATIENT, SECOND, one])
        assert read_bundle(bundle).visits[-1].medications == ()
        visit = read_bundle(bundle, drug_map).visits[-1]
        assert visit.medications and visit.drugs


@pytest.mark.parametrize("concept", BARE, ids=["NDC", "RxNorm"])
def test_without_a_drug_map_it_is_said_how_to_make_one(concept):
    (unread,) = read(PATIENT, SECOND, request(None, medicationCodeableConcept=concept)).unread
    assert "engine terminology rxnorm" in unread.why
    (unread,) = read(PATIENT, SECOND, request("no such drug")).unread
    assert "rxnorm" not in unread.why


def test_a_medication_elsewhere_in_the_bundle_is_followed():
    drug = {"resourceType": "Medication", "id": "d", "code": {"text": "furosemide"}}
    one = request(None, medicationReference={"reference": "Medication/d"})
    assert read(PATIENT, SECOND, drug, one).visits[0].medications == ("C03C",)
    inside = request(None, medicationReference={"reference": "#d"}, contained=[drug])
    assert read(PATIENT, SECOND, inside).visits[0].medications == ("C03C",)


def test_references_by_full_address_are_followed():
    located = {
        **condition(coding(ICD10, "I10"), None),
        "encounter": {"reference": "urn:uuid:2"},
    }
    entries = [
        {"fullUrl": "urn:uuid:1", "resource": PATIENT},
        {"fullUrl": "urn:uuid:2", "resource": FIRST},
        {"fullUrl": "urn:uuid:3", "resource": SECOND},
        {"resource": located},
    ]
    record = read_bundle(json.dumps({"resourceType": "Bundle", "entry": entries}))
    assert record.visits[0].diagnoses == ("10:I10",)


def test_without_an_encounter_the_date_decides():
    record = read(
        PATIENT,
        FIRST,
        SECOND,
        condition(coding(ICD10, "I10"), None, recordedDate="2023-01-07"),
        condition(coding(ICD10, "E11.9"), None),
        request("aspirin", None, authoredOn="2019-03"),
    )
    home, first, second = record.visits
    assert home.medications
    assert first.diagnoses == ("10:I10",)
    assert second.diagnoses == ("10:E119",)


def test_what_does_not_hold_is_named_and_left_out():
    wrong = {"verificationStatus": {"coding": [{"code": "entered-in-error"}]}}
    record = read(
        PATIENT,
        SECOND,
        condition(coding(ICD10, "I10"), **wrong),
        request("warfarin", status="cancelled"),
        condition(coding(ICD10, "Z99.99")),
        request("no such drug at all"),
        {"resourceType": "Observation", "id": "o"},
    )
    assert record.visits[0].diagnoses == record.visits[0].medications == ()
    whys = " | ".join(unread.why for unread in record.unread)
    assert len(record.unread) == 5
    for part in ("entered-in-error", "cancelled", "no table", "no drug we know", "is not read"):
        assert part in whys


@pytest.mark.parametrize(
    "marks",
    [{"doNotPerform": True}, {"intent": "proposal"}, {"intent": "plan"}, {"status": "draft"}],
)
def test_what_was_never_ordered_is_no_medication(marks):
    record = read(PATIENT, SECOND, request("Warfarin", **marks))
    assert record.visits[-1].medications == ()
    assert [one.what for one in record.unread] == ["MedicationRequest/m"]


def test_a_condition_that_is_over_counts_in_its_own_visit_alone():
    over = {"clinicalStatus": coding("any", "resolved")}
    pregnant = condition(coding(ICD10, "O09.90"), encounter=None, **over)
    record = read(PATIENT, FIRST, SECOND, pregnant, condition(coding(ICD10, "I10"), "e2"))
    assert record.visits[-1].diagnoses == ("10:I10",)
    assert "resolved" in record.unread[0].why
    record = read(PATIENT, FIRST, SECOND, condition(coding(ICD10, "J18.9"), "e1", **over))
    assert record.visits[0].diagnoses == ("10:J189",)


def test_allergies_are_kept_as_written():
    allergy = {"resourceType": "AllergyIntolerance", "id": "a", "code": {"text": "Penicillin G"}}
    nameless = {"resourceType": "AllergyIntolerance", "id": "b"}
    record = read(PATIENT, SECOND, allergy, nameless)
    assert record.allergies == ("Penicillin G",)
    assert record.unread[0].what == "AllergyIntolerance/b"


def test_a_bundle_without_an_encounter_is_one_visit():
    record = read(PATIENT, condition(coding(ICD10, "I10"), None))
    assert len(record.visits) == 1
    assert record.visits[0].diagnoses == ("10:I10",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"resourceType": "Patient"}', "no FHIR bundle"),
        ('{"resourceType": "Bundle"}', "0 Patient"),
        (json.dumps([PATIENT, PATIENT]), "2 Patient"),
    ],
)
def test_what_is_no_bundle_of_one_patient_is_refused_in_a_line(text, said):
    with pytest.raises(WorkbenchError, match=said) as refused:
        read_bundle(text)
    assert "\n" not in str(refused.value)


_anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=8),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(
            some.sampled_from(["code", "coding", "system", "period", "start", "text", "reference"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)

DRUGS = ("MedicationRequest", "MedicationStatement")
FIELDS = (
    "id",
    "class",
    "type",
    "period",
    "code",
    "status",
    "encounter",
    "authoredOn",
    "effectivePeriod",
    "dateAsserted",
    "category",
    "recordedDate",
    "verificationStatus",
    "dosageInstruction",
    "medicationCodeableConcept",
    "medicationReference",
    "contained",
    "performedPeriod",
    "onsetPeriod",
)


@settings(deadline=None)
@given(
    some.lists(
        some.fixed_dictionaries(
            {
                "resourceType": some.sampled_from(
                    ["Encounter", "Condition", "Procedure", *DRUGS, "Medication"]
                )
            },
            optional=dict.fromkeys(FIELDS, _anything),
        ),
        max_size=4,
    ),
    _anything,
)
def test_nothing_in_a_bundle_stops_the_reading(resources, oddity):
    patient = {**PATIENT, "communication": oddity, "extension": oddity, "maritalStatus": oddity}
    assert read(patient, *resources).visits
