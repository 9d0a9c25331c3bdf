"""Every fault planted in the tiny hospital is found and counted, and nothing is said of anyone."""

import json
from dataclasses import replace

import pytest

from engine.cli import main
from engine.records import quality_findings, quality_report
from engine.records.options import IngestOptions
from engine.terminology import crosswalk, drugs
from tests.tables import ADMISSION, rows, write_tables


@pytest.fixture
def make_facts(make_cohort):
    """Return a function that ingests the tiny hospital, some tables replaced, and counts."""

    def make(name="cohort", options=None, **overrides):
        return quality_report.read(make_cohort(name, options=options, **overrides).folder)

    return make


def admission(patient, visit, start, end, **values):
    times = {"admittime": start, "dischtime": end}
    return {"subject_id": patient, "hadm_id": visit, **times, **ADMISSION, **values}


def prescription(visit, drug="Furosemide", route="PO", start=""):
    return {
        "subject_id": "1",
        "hadm_id": visit,
        "drug_type": "MAIN",
        "drug": drug,
        "route": route,
        "starttime": start,
    }


def missing(facts, field):
    return next(row["missing"] for row in facts["missing"] if row["field"] == field)


def found(facts, what):
    return next(row["found"] for row in facts["times"] if row["what"] == what)


def test_the_plain_hospital_is_counted_right(make_facts):
    facts = make_facts()
    assert (facts["patients"], facts["visits"], facts["labelled_visits"]) == (3, 5, 4)
    assert facts["visits_per_patient"]["counts"] == [[1, 2], [3, 1]]
    assert facts["visits_per_patient"]["median"] == 1
    assert facts["codes_per_visit"]["diagnoses"]["counts"] == [[1, 2], [2, 2], [3, 1]]
    assert facts["codes_per_visit"]["medications"]["counts"] == [[0, 1], [1, 3], [2, 1]]
    assert facts["stays"]["counts"] == [[1, 2], [3, 1], [4, 1], [8, 1]]  # whole days
    assert [band["band"] for band in facts["ages"]["bands"]] == ["40-49", "60-69", "90+"]
    assert facts["ages"]["bands"][1] == {"band": "60-69", "F": 3, "M": 0, "unknown": 0}
    assert facts["ages"]["median"] == 65


def test_tables_stand_with_every_reason(make_facts):
    facts = make_facts(diagnoses_icd=[*rows("diagnoses_icd"), rows("diagnoses_icd")[0]])
    tables = {table["table"]: table for table in facts["tables"]}
    assert (tables["diagnoses_icd"]["read"], tables["diagnoses_icd"]["kept"]) == (10, 9)
    reasons = [["the code is there already for this admission", 1]]
    assert tables["diagnoses_icd"]["dropped"] == reasons
    assert ["drug name not recognised", 1] in tables["prescriptions"]["dropped"]


def test_empty_fields_are_counted(make_facts):
    admissions = rows("admissions")
    admissions[0] |= {"language": "?", "dischtime": ""}
    admissions[1] |= {"language": "UNKNOWN", "race": ""}
    patients = rows("patients")
    patients[1] |= {"gender": "", "anchor_age": ""}
    prescriptions = [prescription("100", route=""), *rows("prescriptions")]
    facts = make_facts(admissions=admissions, patients=patients, prescriptions=prescriptions)
    assert missing(facts, "language") == 2
    assert missing(facts, "race") == 1
    assert missing(facts, "discharge_time") == 1
    assert (missing(facts, "sex"), missing(facts, "age")) == (1, 1)
    assert missing(facts, "religion") == facts["visits"]  # the layout has none
    assert missing(facts, "medications") == 1
    assert missing(facts, "procedures") == 3
    assert missing(facts, "route") == 1


def test_a_field_left_out_by_choice_is_told_from_a_missing_one(make_facts):
    facts = make_facts(options=IngestOptions(profile_off=("race", "age_band")))
    off = {row["field"]: row["off"] for row in facts["missing"]}
    assert off["race"] and off["age"]
    assert not off["religion"]


def test_codes_are_ranked_and_titled(make_facts):
    codes = make_facts()["codes"]
    assert codes["diagnoses"]["top"][0]["code"] == "10:I5021"
    assert codes["diagnoses"]["top"][0]["visits"] == 2
    titles = {entry["code"]: entry["title"] for entry in codes["diagnoses"]["top"]}
    assert titles["10:I10"] == "Our own words for hypertension"
    assert "heart failure" in titles["10:I5021"].lower()  # from the public release
    assert codes["medications"]["top"][0]["code"] == "C03C"
    assert (codes["diagnoses"]["distinct"], codes["diagnoses"]["rows"]) == (8, 9)
    assert codes["diagnoses"]["once"] == 7
    assert codes["diagnoses"]["held_by"] == [[1, 2], [2, 3], [5, 6], [8, 9]]


def test_title_coverage_says_where_titles_come_from(make_facts):
    strange = rows("diagnoses_icd")[3] | {"seq_num": "9", "icd_code": "Q00Q00"}
    coverage = make_facts(diagnoses_icd=[*rows("diagnoses_icd"), strange])["titles"]["diagnoses"]
    assert coverage["source"] == {"codes": 2, "rows": 2}
    assert coverage["none"]["rows"] >= 1
    assert sum(part["rows"] for part in coverage.values()) == 10


def test_drug_names_are_counted_by_rule(make_facts):
    drugs = make_facts()["drugs"]
    assert drugs["rows"] == {"mapped": 6, "non_drug": 1, "unmapped": 1}
    assert drugs["names"] == {"mapped": 2, "non_drug": 1, "unmapped": 1}
    assert (drugs["unmapped"], drugs["rarer"]) == ([], {"names": 1, "rows": 1})
    assert sum(rule["rows"] for rule in drugs["rules"]) == 8
    assert {"kind": "non_drug", "rule": "flush", "rows": 1} in drugs["rules"]


def test_versions_are_counted_by_year_of_admission(make_facts):
    years = {year["year"]: year for year in make_facts()["years"]}
    assert years[2150] == {"year": 2150, "visits": 1, "icd9": 3, "icd10": 0}
    assert years[2171] == {"year": 2171, "visits": 1, "icd9": 1, "icd10": 1}


def test_years_tell_the_version_as_written_and_the_crosswalk_what_it_translated(make_facts):
    facts = make_facts(options=IngestOptions(icd10=True))
    assert sum(year["icd9"] for year in facts["years"]) == 4
    assert sum(part["rows"] for part in facts["crosswalk"].values()) == 4
    assert sum(part["rows"] for name, part in facts["crosswalk"].items() if name != "left") >= 2
    assert make_facts("plain")["crosswalk"] is None


def test_the_crosswalk_is_counted_by_how_sure_it_is(make_facts, monkeypatch):
    targets = {
        "9:4019": crosswalk.Equivalent("10:I10", exact=True, part=False, choices=1),
        "9:0090": crosswalk.Equivalent("10:A09", exact=False, part=False, choices=3),
        "9:41401": crosswalk.Equivalent("10:I2510", exact=True, part=True, choices=2),
    }
    monkeypatch.setattr(crosswalk, "equivalent", targets.get)
    monkeypatch.setattr(
        crosswalk, "to_icd10", lambda code: getattr(targets.get(code), "code", None)
    )
    facts = make_facts(options=IngestOptions(icd10=True))
    assert facts["crosswalk"] == {
        "identical": {"codes": 1, "rows": 1},
        "near": {"codes": 0, "rows": 0},
        "chosen": {"codes": 1, "rows": 1},
        "part": {"codes": 1, "rows": 1},
        "left": {"codes": 1, "rows": 1},  # 9:E8120
    }


def test_drug_names_of_other_visits_are_not_counted(make_facts):
    rare = rows("prescriptions")[-1] | {"drug": "Qwertin"}
    facts = make_facts(
        prescriptions=[*rows("prescriptions"), *[rare] * 6], options=IngestOptions(min_visits=2)
    )
    prescriptions = next(t for t in facts["tables"] if t["table"] == "prescriptions")
    assert ["its admission was dropped", 8] in prescriptions["dropped"]
    assert facts["drugs"]["rows"] == {"mapped": 5, "non_drug": 1, "unmapped": 0}
    assert facts["drugs"]["names"] == {"mapped": 2, "non_drug": 1, "unmapped": 0}
    assert sum(rule["rows"] for rule in facts["drugs"]["rules"]) == 6
    assert (facts["drugs"]["unmapped"], facts["drugs"]["rarer"]["names"]) == ([], 0)


def test_what_a_choice_leaves_out_of_a_kept_visit_is_counted(make_facts):
    prescriptions = [
        prescription("300", start="2150-03-01 11:00:00"),
        prescription("300", start="2150-03-04 11:00:00"),
        prescription("300", drug="Qwertin", start="2150-03-04 11:00:00"),
    ]
    facts = make_facts(prescriptions=prescriptions, options=IngestOptions(first_day=True))
    assert facts["drugs"]["rows"] == {"mapped": 2, "non_drug": 0, "unmapped": 1}


@pytest.mark.parametrize("times", [1, 5])
def test_a_person_in_a_drug_name_is_in_no_report_and_not_on_screen(tmp_path, capsys, times):
    person = rows("prescriptions")[-1] | {"drug": "Give to John Smith MRN 123456 tel 555-1234"}
    given = [*rows("prescriptions"), *[person] * times]
    tables = write_tables(tmp_path / "in", prescriptions=given)
    assert main(["ingest", "mimic-iv", str(tables), str(tmp_path / "cohort")]) == 0
    seen = [capsys.readouterr().out]
    for name in ("manifest.json", *quality_report.FILES):
        text = (tmp_path / "cohort" / name).read_text(encoding="utf-8")
        seen.append(text.partition("<script>")[0])  # plotly.js may hold any digits
    for text in seen:
        assert "123456" not in text and "555-1234" not in text
        assert ("Give to John Smith MRN [number] tel [number]" in text) is (times == 5)
    assert ("2 rarer names (2 rows)" in seen[0]) is (times == 1)


def test_codes_against_the_name_are_counted(make_facts, monkeypatch):
    real = drugs.match

    def match(drug, *others):
        found = real(drug, *others)
        against = drug == "Metoprolol Tartrate"
        return replace(found, rule="code against the name; route oral") if against else found

    monkeypatch.setattr(drugs, "match", match)
    facts = make_facts()
    assert facts["drugs"]["contradicted"] == {"names": 1, "rows": 1}
    said = [n.text for n in quality_findings.notices(facts) if n.look]
    assert any("(1, of 1 drug name) have a product code that contradicts" in text for text in said)


def test_the_size_of_the_vocabulary_is_in_the_report_and_in_the_funnel(make_cohort):
    cohort = make_cohort(options=IngestOptions(top_k={"diagnoses": 2}))
    sizes = {
        kind: len(getattr(cohort.vocabulary, kind))
        for kind in ("diagnoses", "procedures", "medications")
    }
    assert sizes["diagnoses"] == 2
    assert quality_report.read(cohort.folder)["vocabulary"] == sizes
    assert cohort.manifest["funnel"]["vocabulary"] == sizes


def test_codes_unknown_to_training_are_counted(make_facts):
    facts = make_facts(options=IngestOptions(top_k={"diagnoses": 1}))
    rows_of = {split["split"]: split["diagnoses"] for split in facts["splits"]}
    assert sum(part["rows"] for part in rows_of.values()) == 9
    for part in rows_of.values():
        assert part["unknown_codes"] >= part["codes"] - 1
        assert part["unknown_rows"] <= part["rows"]
    assert sum(split["patients"] for split in facts["splits"]) == 3
    train = rows_of["train"]  # knows its own codes, but for those that the limit leaves out
    assert 0 < train["limited_rows"] == train["unknown_rows"]
    assert all(part["limited_rows"] <= part["unknown_rows"] for part in rows_of.values())


def test_times_that_cannot_be_right_are_found(make_facts):
    faulty = [
        admission("3", "601", "2172-01-05 10:00:00", "2172-01-20 10:00:00"),  # within the former
        admission("3", "602", "2173-01-05 10:00:00", "2173-01-06 10:00:00"),
        admission("3", "603", "2173-01-05 10:00:00", "2173-01-05 11:00:00"),  # the same instant
        admission("3", "604", "2175-01-01 00:00:00", "2176-06-01 00:00:00"),  # midnight, long
        admission("3", "605", "2180-01-01 09:00:00", "2180-01-01 09:00:00"),  # no time at all
        admission("3", "606", "2181-01-02 09:00:00", "2181-01-01 09:00:00"),  # backwards
        admission("3", "607", "2182-01-02 09:00:00", "later"),
        admission("3", "608", "never", ""),
        admission("2", "609", "1850-01-01 09:00:00", "1850-01-02 09:00:00"),
    ]
    facts = make_facts(admissions=[*rows("admissions"), *faulty])
    assert found(facts, "overlapping admissions") == 2  # 601, and 603 within 602
    assert found(facts, "two admissions at the same instant") == 2
    assert found(facts, "stay over a year") == 1
    assert found(facts, "admission at midnight sharp") == 1
    assert found(facts, "discharge at the moment of admission") == 1
    assert found(facts, "discharge before admission") == 1
    assert found(facts, "discharge time unreadable") == 1
    assert found(facts, "admission time missing or unreadable") == 1
    assert found(facts, "admission in an odd year") == 1
    assert found(facts, "age impossible") == 1  # two centuries before the birth


def test_prescriptions_far_from_their_stay_are_found(make_facts):
    prescriptions = [
        prescription("300", start="2150-03-02 08:00:00"),
        prescription("300", start="2150-02-01 08:00:00"),  # a month before
        prescription("300", start="2150-03-09 08:00:00"),  # days after
        prescription("300", start="2150-02-28 08:00:00"),  # two days before is no fault
        prescription("300"),
    ]
    facts = make_facts(prescriptions=prescriptions)
    assert found(facts, "prescription long before admission") == 1
    assert found(facts, "prescription after discharge") == 1
    assert missing(facts, "start_time") == 1


def test_nothing_is_said_of_a_single_patient(make_facts):
    named = [row | {"subject_id": f"patient-{row['subject_id']}"} for row in rows("patients")]
    tables = {
        name: [row | {"subject_id": f"patient-{row['subject_id']}"} for row in rows(name)]
        for name in ("admissions", "diagnoses_icd", "procedures_icd", "prescriptions")
    }
    text = json.dumps(make_facts(patients=named, **tables))
    assert "patient-" not in text
    assert "-03-01" not in text  # no date


def test_a_patient_with_very_many_visits_disappears_in_the_last_bar(make_facts):
    stays = [
        admission("2", f"7{year}", f"{year}-05-05 10:00:00", f"{year}-05-06 10:00:00")
        for year in range(2161, 2190)
    ]
    counts = make_facts(admissions=[*rows("admissions"), *stays])["visits_per_patient"]
    assert counts["counts"][-1] == [counts["most"], 1]


def test_the_order_of_rows_plays_no_part(make_facts):
    names = ("patients", "admissions", "diagnoses_icd", "procedures_icd", "prescriptions")
    shuffled = make_facts("shuffled", **{name: rows(name)[::-1] for name in names})
    assert shuffled == make_facts()
