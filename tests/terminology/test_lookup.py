"""One text or code → everything it stands for, and by which rule."""

import pytest

from engine.errors import WorkbenchError
from engine.terminology import rxnorm
from engine.terminology.lookup import lookup
from tests import rrf


@pytest.fixture(scope="module")
def drug_map(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rxnorm")
    rxnorm.build(rrf.write_rrf(folder / "rrf"), folder / "map.sqlite")
    return rxnorm.DrugMap.open(folder / "map.sqlite")


def only(entries):
    assert len(entries) == 1
    return entries[0]


def codes(rows) -> list[str]:
    return [row["code"] for row in rows]


def test_a_drug_name_gives_its_groups_with_names_rule_and_ingredient():
    entry = only(lookup("Lisinopril 10mg tab"))
    assert (entry.kind, entry.title) == ("drug", "lisinopril")
    assert entry.facts["groups"] == [{"code": "C09A", "name": "ACE inhibitors"}]
    assert entry.facts["rule"].startswith("name")


def test_an_ingredient_with_several_codes_shows_what_each_route_gives():
    by_route = only(lookup("vancomycin")).facts["by route"]
    assert {row["routes"]: row["code"] for row in by_route} == {
        "oral, rectal": "A07AA09",
        "ophthalmic": "S01AA28",
        "other routes": "J01XA01",
    }


@pytest.mark.parametrize(("route", "group"), [("PO", "A07A"), ("IV", "J01X"), ("ou", "S01A")])
def test_a_route_decides(route, group):
    assert codes(only(lookup("Vancomycin", route)).facts["groups"]) == [group]


def test_a_route_we_do_not_know_is_said_to_be_unknown():
    entry = only(lookup("Vancomycin", "BY OWL"))
    assert codes(entry.facts["groups"]) == ["J01X"]
    assert "not in our table" in entry.facts["route"]


def test_what_is_no_drug_says_so_and_why():
    entry = only(lookup("Heparin Flush (10 units/ml)"))
    assert entry.kind == "no drug"
    assert "flush" in entry.title


@pytest.mark.parametrize("written", ["I50.9", "i509", "10:I509", "10:I50.9", " I50.9 "])
def test_an_icd10_code_is_found_however_it_is_written(written):
    entry = only(lookup(written))
    assert (entry.kind, entry.code) == ("ICD-10-CM diagnosis", "10:I509")
    assert entry.title == "Heart failure, unspecified"


def test_a_code_that_is_two_things_gives_both():
    diagnosis, procedure = lookup("0066")
    assert (diagnosis.kind, diagnosis.title) == ("ICD-9-CM diagnosis", "Amebic skin ulceration")
    assert diagnosis.facts["in ICD-10"] == [{"code": "10:A067", "title": "Cutaneous amebiasis"}]
    assert procedure.kind == "ICD-9-CM procedure"
    assert "coronary angioplasty" in procedure.title


def test_a_version_that_is_written_keeps_the_other_out():
    assert {entry.code[:3] for entry in lookup("V27.0")} == {"9:V"}
    assert [entry.code for entry in lookup("9:E812.0")] == ["9:E8120"]
    with pytest.raises(WorkbenchError):
        lookup("10:4280")


def test_an_icd9_diagnosis_says_how_its_icd10_code_was_chosen():
    assert "closest of 2" in lookup("9:2724")[0].facts["rule"]
    assert "part of a combination" in lookup("9:0730")[0].facts["rule"]
    assert "no code" in lookup("9:36570")[0].facts["in ICD-10"]
    assert "58 codes for it, and no single" in lookup("9:99811")[0].facts["in ICD-10"]
    assert lookup("9:3572")[0].facts["rule"].startswith("chosen by hand: type 2")


def test_a_procedure_code_of_icd10():
    assert only(lookup("02703ZZ")).kind == "ICD-10-PCS procedure"


def test_an_atc_group_names_its_place_and_its_ingredients():
    entry = only(lookup("b01a"))
    assert (entry.kind, entry.title) == ("ATC group", "Antithrombotic agents")
    assert codes(entry.facts["lies in"]) == ["B", "B01"]
    held = {row["ingredient"]: row["code"] for row in entry.facts["ingredients"]}
    assert held["warfarin"] == "B01AA03"
    assert all(code.startswith("B01A") for code in held.values())


def test_a_wide_atc_group_names_the_groups_below_it():
    entry = only(lookup("B01"))
    assert codes(entry.facts["groups"]) == ["B01A"]
    assert codes(only(lookup("B")).facts["groups"])[0] == "B01"


def test_an_atc_code_names_its_ingredient():
    entry = only(lookup("N02BE01"))
    assert entry.kind == "ATC code"
    assert entry.title == "acetaminophen"
    assert [row["ingredient"] for row in entry.facts["ingredients"]] == ["acetaminophen"]


def test_a_group_without_a_name_of_its_own_says_what_it_is_part_of():
    assert only(lookup("B01AC")).title == "part of B01A, Antithrombotic agents"
    entry = only(lookup("A13AA"))
    assert (entry.title, entry.facts["ingredients"]) == (
        "part of A13A, Tonics",
        "none in our table",
    )
    assert codes(entry.facts["lies in"]) == ["A", "A13", "A13A"]


@pytest.mark.parametrize("ndc", ["00904404073", "0904-4040-73", "904404073"])
def test_an_ndc_is_found_in_the_drug_map(drug_map, ndc):
    entry = only(lookup(ndc, drug_map=drug_map))
    assert (entry.kind, entry.code) == ("NDC", "00904404073")
    assert entry.facts["RxCUI"] == "243670"
    assert entry.facts["ingredients"] == "aspirin"
    assert codes(entry.facts["ATC codes"]) == ["A01AD05", "B01AC06", "N02BA01"]
    assert codes(entry.facts["groups"]) == ["B01A"]  # a low dose, by the name


def test_an_ndc_without_a_map_says_how_to_build_one():
    with pytest.raises(WorkbenchError, match="terminology rxnorm RRF_DIR"):
        lookup("00904-4040-73")


def test_an_unknown_ndc_names_the_map(drug_map):
    with pytest.raises(WorkbenchError, match=r"map\.sqlite does not hold"):
        lookup("99999-9999-99", drug_map=drug_map)


def test_a_near_name_is_offered_but_never_mapped():
    with pytest.raises(WorkbenchError, match="near names, not mapped: lisinopril"):
        lookup("lisinoprol")


def refusal(text: str) -> str:
    with pytest.raises(WorkbenchError) as stopped:
        lookup(text)
    return str(stopped.value)


def test_an_incomplete_icd_code_names_codes_below_it():
    said = refusal("I50")
    assert "the ICD-10-CM diagnosis codes I50.1, I50.20, I50.21, I50.22 and 19 more" in said


def test_codes_below_keep_diagnoses_and_procedures_apart():
    said = refusal("401")
    assert "the ICD-9-CM diagnosis codes 401.0, 401.1, 401.9" in said
    assert "; the ICD-9-CM procedure codes 40.11, 40.19" in said
    assert "401.9" not in refusal("40.1")


@pytest.mark.parametrize(
    ("written", "kind", "code"),
    [
        ("401.9", "ICD-9-CM diagnosis", "9:4019"),
        ("40.19", "ICD-9-CM procedure", "9:4019"),
        ("006.6", "ICD-9-CM diagnosis", "9:0066"),
        ("00.66", "ICD-9-CM procedure", "9:0066"),
        ("E812.0", "ICD-9-CM diagnosis", "9:E8120"),
        ("V58.61", "ICD-9-CM diagnosis", "9:V5861"),
    ],
)
def test_the_place_of_the_dot_tells_diagnoses_from_procedures(written, kind, code):
    entry = only(lookup(written))
    assert (entry.kind, entry.code) == (kind, code)


def test_a_dot_out_of_place_is_refused_with_what_was_meant():
    assert "did you mean K50.00?" in refusal("K.5.0.0.0")
    assert "did you mean 401.9 or 40.19?" in refusal("4.019")


def test_a_fluid_shows_what_it_is_as_a_drug_and_as_a_carrier():
    drug, carrier = lookup("D5W")
    assert codes(drug.facts["groups"]) == ["B05B"]
    assert drug.facts["in rows"] == "MAIN, ADDITIVE"
    assert (carrier.kind, carrier.facts["in rows"]) == ("no drug", "BASE")
    assert "in rows" not in only(lookup("Lisinopril")).facts


@pytest.mark.parametrize(("drug_type", "kind"), [("BASE", "no drug"), ("MAIN", "drug")])
def test_the_type_of_the_row_decides(drug_type, kind):
    assert only(lookup("NS", drug_type=drug_type)).kind == kind


@pytest.mark.parametrize(
    "text", ["", "   ", "qqqq", "\x1b[31m\n;--", "x" * 10_000, "Z99Z", "心不全"]
)
def test_what_stands_for_nothing_is_one_line(text):
    with pytest.raises(WorkbenchError) as stopped:
        lookup(text)
    said = str(stopped.value)
    assert said.isprintable()
    assert len(said) < 300
