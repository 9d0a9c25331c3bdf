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
    assert [row["ingredient"] for row in entry.facts["ingredients"]] == ["acetaminophen"]


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


def test_an_incomplete_icd_code_names_codes_below_it():
    with pytest.raises(WorkbenchError, match=r"below it lie 10:I501, .* more"):
        lookup("I50")


@pytest.mark.parametrize(
    "text", ["", "   ", "qqqq", "\x1b[31m\n;--", "x" * 10_000, "Z99Z", "心不全"]
)
def test_what_stands_for_nothing_is_one_line(text):
    with pytest.raises(WorkbenchError) as stopped:
        lookup(text)
    said = str(stopped.value)
    assert said.isprintable()
    assert len(said) < 300
