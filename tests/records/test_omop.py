"""OMOP: the same hospital gives the same cohort; codes, drugs and visits found or counted."""

import pytest

from engine.cli import main
from engine.config import save_recipe
from engine.errors import WorkbenchError
from engine.records import omop
from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from engine.records.options import IngestOptions
from engine.terminology import rxnorm
from tests import rrf
from tests.records import omop_export
from tests.records.omop_rows import (
    below,
    concept,
    condition,
    exposure,
    hospital,
    maps,
    procedure,
    visit,
)

SAME = (
    "patient_id", "visit_id", "admit_time", "discharge_time", "age", "sex", "diagnoses",
    "procedures", "medications",
)  # fmt: skip
LOST = ("insurance", "language", "marital_status", "religion")


@pytest.fixture(scope="module")
def exported(sample_tables) -> dict[str, list[dict]]:
    """The tables of 80 synthetic patients as OMOP; copy a row before changing it."""
    return omop_export.export(sample_tables)


@pytest.fixture(scope="module")
def omop_cohort(exported, tmp_path_factory) -> Cohort:
    """The cohort made from them."""
    folder = tmp_path_factory.mktemp("omop")
    ingest(omop_export.write(exported, folder / "in"), folder / "cohort", source=omop.SOURCE)
    return Cohort.open(folder / "cohort")


@pytest.fixture
def make_cohort(tmp_path):
    """Return a function that ingests OMOP tables and opens the cohort."""

    def make(tables, suffix=".csv", name="cohort", options=None):
        folder = omop_export.write(tables, tmp_path / f"{name}-tables", suffix)
        ingest(folder, tmp_path / name, omop.SOURCE, options or IngestOptions())
        return Cohort.open(tmp_path / name)

    return make


def visits(cohort):
    return [visit for patient in cohort.patient_ids() for visit in cohort.visits(patient)]


def dropped(cohort, table):
    counts = cohort.manifest["funnel"]["tables"]
    return next(count["dropped"] for count in counts if count["table"] == table)


def test_the_same_hospital_gives_the_same_cohort(omop_cohort, tiny_cohort):
    """All but what the common data model has no column for; sequence numbers live on as order."""
    mimic = visits(Cohort.open(tiny_cohort))
    read = visits(omop_cohort)
    assert len(read) == len(mimic) > 100
    for one, other in zip(read, mimic, strict=True):
        assert [getattr(one, name) for name in SAME] == [getattr(other, name) for name in SAME]
        assert [getattr(one, name) for name in LOST] == [None] * len(LOST)
    assert omop_cohort.splits == Cohort.open(tiny_cohort).splits


def test_titles_are_those_of_the_source_concepts(omop_cohort, tiny_cohort):
    assert omop_cohort.titles == Cohort.open(tiny_cohort).titles


def test_race_and_admission_type_are_in_the_words_of_the_vocabulary(omop_cohort):
    read = visits(omop_cohort)
    assert {"WHITE", "BLACK OR AFRICAN AMERICAN"} <= {one.race for one in read}
    assert {one.admission_type for one in read} == {
        "Inpatient Visit", "Emergency Room and Inpatient Visit", "Observation Room",
    }  # fmt: skip


def test_visits_outside_the_hospital_are_counted_and_left_out(omop_cohort):
    assert dropped(omop_cohort, "visit_occurrence") == {
        "not a hospital stay (Outpatient Visit)": 80
    }
    assert dropped(omop_cohort, "condition_occurrence")["its admission was dropped"] == 80


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet", ".tsv"])
def test_every_kind_of_file_gives_the_same_cohort(suffix, exported, omop_cohort, make_cohort):
    assert make_cohort(exported, suffix).fingerprint == omop_cohort.fingerprint


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_column_names_in_capitals_are_read(suffix, make_cohort, tmp_path):
    capitals = {
        name: [{column.upper(): value for column, value in row.items()} for row in rows]
        for name, rows in hospital().items()
    }
    cohort = make_cohort(capitals, suffix)
    assert cohort.visit("1").diagnoses == ("10:I509",)


def test_without_source_concepts_the_written_code_counts(exported, omop_cohort, make_cohort):
    rows = [row | {"condition_source_concept_id": 0} for row in exported["condition_occurrence"]]
    cohort = make_cohort(exported | {"condition_occurrence": rows})
    assert cohort.fingerprint == omop_cohort.fingerprint


def test_without_any_source_the_standard_concept_leads_back(exported, omop_cohort, make_cohort):
    none = {"condition_source_concept_id": 0, "condition_source_value": None}
    broad = next(
        row["concept_id"]
        for row in exported["concept"]
        if row["concept_name"] == "Diabetes mellitus"
    )
    rows = [
        row | none
        for row in exported["condition_occurrence"]
        if row["condition_concept_id"] != broad
    ]
    cohort = make_cohort(exported | {"condition_occurrence": rows})
    assert [one.diagnoses for one in visits(cohort)] == [
        one.diagnoses for one in visits(omop_cohort)
    ]


def test_of_several_codes_the_billable_the_exact_the_short_and_the_unspecified_is_chosen(
    make_cohort,
):
    rivals = [
        concept(102, "Heart failure", "ICD10CM", "3-char nonbill code", "I50"),
        concept(103, "Other heart failure", "ICD10CM", "4-char billing code", "I50.8"),
        concept(104, "Heart failure in hypertension", "ICD10CM", "4-char billing code", "I99.9"),
        concept(105, "Acute heart failure", "ICD10CM", "5-char billing code", "I50.99"),
        concept(106, "Congestive heart failure", "ICD9CM", "4-dig billing code", "428.0"),
    ]
    standards = [maps(101, 201), maps(104, 201), maps(104, 202)]
    standards += [maps(number, 201) for number in (102, 103, 105, 106)]
    tables = hospital(condition_occurrence=[condition(1)], concept_relationship=standards)
    tables["concept"] += rivals
    assert make_cohort(tables).visit("1").diagnoses == ("10:I509",)
    tables["concept"] = [
        row for row in tables["concept"] if row["concept_id"] not in range(101, 106)
    ]
    assert make_cohort(tables, name="older").visit("1").diagnoses == ("9:4280",)


def test_a_mapping_that_is_no_longer_valid_is_not_used(make_cohort):
    tables = hospital(
        condition_occurrence=[condition(1), condition(2, source=101)],
        concept_relationship=[maps(101, 201, invalid="D"), maps(201, 101, "Mapped from")],
    )
    cohort = make_cohort(tables)
    assert cohort.visit("1").diagnoses == ("10:I509",)
    assert dropped(cohort, "condition_occurrence") == {"ICD version is not 9 or 10": 1}


def test_a_written_code_that_two_versions_have_is_not_guessed(make_cohort):
    tables = hospital(
        condition_occurrence=[condition(1, 0, value="V12.3"), condition(2, source=101)]
    )
    tables["concept"] += [
        concept(107, "History of blood disease", "ICD9CM", "4-dig billing code", "V12.3"),
        concept(108, "Motorcycle accident", "ICD10CM", "4-char nonbill code", "V12.3"),
    ]
    cohort = make_cohort(tables)
    assert cohort.visit("1").diagnoses == ("10:I509",)
    assert dropped(cohort, "condition_occurrence") == {"ICD version is not 9 or 10": 1}


def test_primary_diagnoses_come_first_then_the_order_of_the_records(make_cohort):
    tables = hospital(
        condition_occurrence=[
            condition(11, source=110),
            condition(9, source=109),
            condition(30, source=101, condition_status_concept_id=32903),
        ]
    )
    tables["concept"] += [
        concept(109, "Essential hypertension", "ICD10CM", "3-char billing code", "I10"),
        concept(110, "Chronic ischemic heart disease", "ICD10", "ICD10 code", "I25"),
    ]
    assert make_cohort(tables).visit("1").diagnoses == ("10:I509", "10:I10", "10:I25")


@pytest.mark.parametrize("others", [[procedure(1, source=301)], []])
def test_procedures_of_other_vocabularies_are_counted(others, make_cohort):
    cohort = make_cohort(hospital(procedure_occurrence=[procedure(2, source=302), *others]))
    assert cohort.visit("1").procedures == ("10:0BH17EZ",) * len(others)
    assert dropped(cohort, "procedure_occurrence") == {"ICD version is not 9 or 10": 1}


def test_records_without_visit_belong_to_the_only_stay_of_their_day(make_cohort):
    stays = [
        visit(10, 9201, "2150-03-01", "2150-03-05"),
        visit(11, 9201, "2150-03-05", "2150-03-09"),
        visit(12, 9202, "2150-03-02", "2150-03-02"),
    ]
    days = ("2150-03-02", "2150-03-05", "2150-03-07", "2151-01-01")
    cohort = make_cohort(
        hospital(
            visit_occurrence=stays,
            condition_occurrence=[condition(1, source=101, place=None)],
            drug_exposure=[exposure(401, place=None, day=day) for day in days],
        )
    )
    first, second = cohort.visits("1")
    assert first.diagnoses == ("10:I509",)
    assert first.medications == second.medications == ("C03C",)
    assert dropped(cohort, "drug_exposure") == {"no admission id": 2}


def test_what_the_vocabulary_puts_below_a_hospital_stay_is_one(make_cohort):
    units = [
        visit(10, 900, "2150-03-01", "2150-03-05"),
        visit(11, 581385, "2151-03-01", "2151-03-02"),
        visit(12, 0, "2152-03-01", "2152-03-02"),
    ]
    cohort = make_cohort(hospital(visit_occurrence=units))
    assert [one.admission_type for one in cohort.visits("1")] == ["Inpatient Burns Unit", None]
    assert dropped(cohort, "visit_occurrence") == {"not a hospital stay (visit type not known)": 1}


def test_times_are_kept_and_dates_stand_in_for_them(make_cohort):
    times = {"visit_start_datetime": "2151-03-01 08:30:00", "visit_end_datetime": None}
    stays = [
        visit(10, 9201, "2150-03-01", "2150-03-05"),
        visit(11, 9201, "2151-03-01", "2151-03-05", **times),
    ]
    first, second = make_cohort(hospital(visit_occurrence=stays)).visits("1")
    assert (first.admit_time.isoformat(), first.age) == ("2150-03-01T00:00:00", 60)
    assert second.admit_time.isoformat() == "2151-03-01T08:30:00"
    assert second.discharge_time.isoformat() == "2151-03-05T00:00:00"


def test_hispanic_stands_in_the_place_of_race(make_cohort):
    person = hospital()["person"][0] | {"ethnicity_concept_id": 38003563}
    assert make_cohort(hospital(person=[person])).visit("1").race == "HISPANIC OR LATINO"


def test_race_falls_back_to_the_written_one(make_cohort):
    person = hospital()["person"][0] | {"race_concept_id": 0, "race_source_value": "Portuguese"}
    assert make_cohort(hospital(person=[person])).visit("1").race == "PORTUGUESE"


def test_a_drug_reaches_its_groups_through_the_vocabulary(make_cohort):
    """The name says nothing to the engine; without the finest class the next one is taken."""
    tables = hospital()
    tables["concept"][9]["concept_name"] = "Zzyzxol 20 MG Oral Tablet"
    assert make_cohort(tables).visit("1").medications == ("C03C",)
    tables["concept_ancestor"] = [below(401, 502), below(401, 503)]
    assert make_cohort(tables, name="class").visit("1").medications == ("C03C",)


def test_a_drug_without_concept_is_read_by_its_name(make_cohort):
    rows = [exposure(0, "Furosemide"), exposure(0, "Zzyzxol Unheardof"), exposure(0, None)]
    cohort = make_cohort(hospital(drug_exposure=rows))
    assert cohort.visit("1").medications == ("C03C",)
    assert dropped(cohort, "drug_exposure") == {"drug name not recognised": 1, "no drug name": 1}


def test_midnight_says_that_only_the_date_of_a_start_is_known(make_cohort):
    times = {"visit_start_datetime": "2150-03-01 18:00:00"}
    rows = [
        exposure(401, day="2150-03-01", drug_exposure_start_datetime="2150-03-01 00:00:00"),
        exposure(401, day="2150-03-02", drug_exposure_start_datetime="2150-03-02 00:00:00"),
        exposure(401, day="2150-03-02", drug_exposure_start_datetime="2150-03-02 17:59:00"),
    ]
    tables = hospital(
        visit_occurrence=[visit(10, 9201, "2150-03-01", "2150-03-05", **times)], drug_exposure=rows
    )
    cohort = make_cohort(tables, options=IngestOptions(first_day=True))
    assert dropped(cohort, "drug_exposure") == {"started later than 24 hours after admission": 1}


def test_a_drug_map_reads_the_ndc_of_the_source(make_cohort, tmp_path):
    rrf.write_rrf(tmp_path / "rrf")
    rxnorm.build(tmp_path / "rrf", tmp_path / "map.sqlite")
    options = IngestOptions(drug_map=tmp_path / "map.sqlite")
    coded = concept(500, "penicillin G 500 MG", "NDC", "11-digit NDC", "60793070110")
    given = exposure(value="House Tablet 17") | {"drug_source_concept_id": 500}
    by_concept = hospital(drug_exposure=[given])
    by_concept["concept"].append(coded)
    cohort = make_cohort(by_concept, name="concept", options=options)
    assert cohort.visit("1").medications == ("J01C",)
    written = hospital(drug_exposure=[exposure(value="60793-701-10")])
    cohort = make_cohort(written, name="written", options=options)
    assert cohort.visit("1").medications == ("J01C",)


def test_a_concept_that_is_there_twice_does_not_double_records(make_cohort):
    tables = hospital()
    tables["concept"] += tables["concept"]
    counts = make_cohort(tables).manifest["funnel"]["tables"]
    assert [count["read"] for count in counts] == [1] * 5


def test_athena_names_hold_quotation_marks(make_cohort):
    tables = hospital()
    tables["concept"][5]["concept_name"] = 'Heart failure, "unspecified'
    titles = make_cohort(tables, ".tsv").titles
    assert titles["diagnosis"]["10:I509"] == 'Heart failure, "unspecified'


def refused(tables, tmp_path):
    with pytest.raises(WorkbenchError) as error:
        ingest(tables, tmp_path / "out" / "cohort", source=omop.SOURCE)
    assert list((tmp_path / "out").glob("*")) == []
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize("table", [table.name for table in omop.SOURCE.tables])
def test_a_missing_table_is_named(table, tmp_path):
    folder = omop_export.write(hospital(), tmp_path / "in")
    (folder / f"{table}.csv").unlink()
    assert f"table {table} is missing" in refused(folder, tmp_path)


def test_damaged_vocabulary_is_named(tmp_path):
    folder = omop_export.write(hospital(), tmp_path / "in", ".csv.gz")
    path = folder / "concept.csv.gz"
    path.write_bytes(path.read_bytes()[:-10])
    assert "concept.csv.gz: the gzip file is cut off" in refused(folder, tmp_path)


def test_a_vocabulary_of_misplaced_columns_is_named(tmp_path):
    folder = omop_export.write(hospital(), tmp_path / "in", ".tsv")
    header, *lines = (folder / "CONCEPT.csv").read_text().splitlines()
    shifted = [line.replace("\t", " ", 1) for line in lines]
    (folder / "CONCEPT.csv").write_text("\n".join([header, *shifted]))
    assert "CONCEPT.csv: 13 lines do not fit the header" in refused(folder, tmp_path)


def test_the_command_prints_the_funnel(tmp_path, capsys):
    folder = omop_export.write(hospital(), tmp_path / "in", ".parquet")
    assert main(["ingest", "omop", str(folder), str(tmp_path / "cohort")]) == 0
    assert "visit_occurrence" in capsys.readouterr().out


def test_models_answer_for_an_omop_patient(omop_cohort, tiny_pair, tiny_recipe, tmp_path, capsys):
    patient = omop_cohort.samples("test")[0].patient_id
    folder, recipe = str(omop_cohort.folder), tmp_path / "tiny.yaml"
    save_recipe(tiny_recipe, recipe)
    assert main(["prompt", folder, "--patient", patient, "--recipe", str(recipe)]) == 0
    assert main(["recommend", folder, "--patient", patient, "--models", str(tiny_pair)]) == 0
    assert "ATC" in capsys.readouterr().out
