"""A hospital of one patient in the OMOP layout, row by row, for tests that change one."""


# One patient in one hospital stay with one diagnosis, one procedure and one drug. Concept numbers
# below 1000 are made up.
def hospital(**changes: list[dict]) -> dict[str, list[dict]]:
    tables = {
        "person": [
            {"person_id": 1, "gender_concept_id": 8532, "year_of_birth": 2090,
             "race_concept_id": 8527, "ethnicity_concept_id": 38003564},
        ],
        "visit_occurrence": [visit(10, 9201, "2150-03-01", "2150-03-05")],
        "condition_occurrence": [condition(1, source=101)],
        "procedure_occurrence": [procedure(1, source=301)],
        "drug_exposure": [exposure(concept=401)],
        "concept": [
            concept(0, "No matching concept", "None", "Undefined", "0"),
            concept(8527, "White", "Race", "Race", "5"),
            concept(9201, "Inpatient Visit", "Visit", "Visit", "IP"),
            concept(9202, "Outpatient Visit", "Visit", "Visit", "OP"),
            concept(900, "Inpatient Burns Unit", "Visit", "Visit", "B"),
            concept(101, "Heart failure, unspecified", "ICD10CM", "4-char billing code", "I50.9"),
            concept(201, "Heart failure", "SNOMED", "Disorder", "84114007"),
            concept(301, "Insertion of tube", "ICD10PCS", "ICD10PCS", "0BH17EZ"),
            concept(302, "Office visit", "CPT4", "CPT4", "99213"),
            concept(401, "furosemide 20 MG Oral Tablet", "RxNorm", "Clinical Drug", "310429"),
            concept(501, "furosemide", "ATC", "ATC 5th", "C03CA01"),
            concept(502, "Sulfonamides, plain", "ATC", "ATC 4th", "C03CA"),
            concept(503, "HIGH-CEILING DIURETICS", "ATC", "ATC 3rd", "C03C"),
        ],
        "concept_relationship": [maps(101, 201)],
        "concept_ancestor": [below(401, 501), below(401, 502), below(401, 503), below(900, 9201)],
    }  # fmt: skip
    return tables | changes


def visit(number, kind, start, end, **times):
    return {
        "visit_occurrence_id": number, "person_id": 1, "visit_concept_id": kind,
        "visit_start_date": start, "visit_end_date": end,
        "visit_start_datetime": None, "visit_end_datetime": None, **times,
    }  # fmt: skip


def condition(number, standard=201, source=0, value=None, place=10, **more):
    return {
        "condition_occurrence_id": number, "person_id": 1, "condition_concept_id": standard,
        "condition_start_date": "2150-03-02", "visit_occurrence_id": place,
        "condition_source_value": value, "condition_source_concept_id": source,
        "condition_status_concept_id": None, **more,
    }  # fmt: skip


def procedure(number, standard=0, source=0, place=10):
    return {
        "procedure_occurrence_id": number, "person_id": 1, "procedure_concept_id": standard,
        "procedure_date": "2150-03-02", "visit_occurrence_id": place,
        "procedure_source_concept_id": source,
    }  # fmt: skip


def exposure(concept=0, value=None, place=10, day="2150-03-02", **more):
    return {
        "drug_exposure_id": 1, "person_id": 1, "drug_concept_id": concept,
        "drug_exposure_start_date": day, "visit_occurrence_id": place,
        "drug_source_value": value, "route_concept_id": 0, "route_source_value": None, **more,
    }  # fmt: skip


def concept(number, name, vocabulary, kind, code):
    return {
        "concept_id": number, "concept_name": name, "vocabulary_id": vocabulary,
        "concept_class_id": kind, "concept_code": code,
    }  # fmt: skip


def maps(source, standard, relationship="Maps to", invalid=None):
    return {
        "concept_id_1": source, "concept_id_2": standard, "relationship_id": relationship,
        "invalid_reason": invalid,
    }  # fmt: skip


def below(descendant, ancestor):
    return {"ancestor_concept_id": ancestor, "descendant_concept_id": descendant}
