import duckdb
import pytest

from engine.terminology import icd


@pytest.mark.parametrize(
    ("kind", "code", "title"),
    [
        ("diagnosis", "10:I5021", "Acute systolic (congestive) heart failure"),
        ("diagnosis", "10:I50.21", "Acute systolic (congestive) heart failure"),
        ("diagnosis", "9:4019", "Unspecified essential hypertension"),
        ("diagnosis", "9:0030", "Salmonella gastroenteritis"),
        (
            "procedure",
            "10:02703ZZ",
            "Dilation of Coronary Artery, One Artery, Percutaneous Approach",
        ),
        ("procedure", "9:0002", "Therapeutic ultrasound of heart"),
        ("diagnosis", "10:I4891", "Unspecified atrial fibrillation"),
        ("diagnosis", "10:N183", "Chronic kidney disease, stage 3 (moderate)"),  # retired 2020
        ("procedure", "10:5A1D00Z", "Performance of Urinary Filtration, Single"),  # retired 2017
    ],
)
def test_titles(kind, code, title):
    assert icd.title(kind, code) == title


def test_version_and_kind_keep_equal_digits_apart():
    assert icd.title("diagnosis", "9:0030") != icd.title("procedure", "9:0030")
    assert icd.title("diagnosis", "9:V270") != icd.title("diagnosis", "10:V270")


@pytest.mark.parametrize("code", ["10:I50", "10:ZZZ", "9:99999999", "4019", "11:4019", "", ":"])
def test_a_code_that_no_table_holds_has_no_title(code):
    assert icd.title("diagnosis", code) is None


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be"):
        icd.title("drug", "9:4019")


@pytest.mark.parametrize(
    ("kind", "table", "code"),
    [
        ("diagnosis", "mimic-iv-demo/hosp/diagnoses_icd.csv.gz", "icd_version || ':' || icd_code"),
        ("procedure", "mimic-iv-demo/hosp/procedures_icd.csv.gz", "icd_version || ':' || icd_code"),
        ("diagnosis", "mimic-iii-demo/DIAGNOSES_ICD.csv", "'9:' || icd9_code"),
        ("procedure", "mimic-iii-demo/PROCEDURES_ICD.csv", "'9:' || icd9_code"),
    ],
)
def test_every_code_of_the_demos_has_a_title(demo_data, kind, table, code):
    found = duckdb.sql(
        f"SELECT DISTINCT {code} FROM read_csv('{demo_data / table}', all_varchar=true)"
    ).fetchall()
    assert found
    assert [code for (code,) in found if icd.title(kind, code) is None] == []


@pytest.mark.parametrize(
    ("kind", "code", "written"),
    [
        ("diagnosis", "9:4280", "428.0"),
        ("diagnosis", "9:E8120", "E812.0"),
        ("diagnosis", "10:E1110", "E11.10"),
        ("diagnosis", "10:I10", "I10"),
        ("procedure", "9:0066", "00.66"),
        ("procedure", "10:02703ZZ", "02703ZZ"),
    ],
)
def test_the_dot_stands_where_people_write_it(kind, code, written):
    assert icd.dotted(kind, code) == written
