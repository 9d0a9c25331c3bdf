"""ICD-9-CM → ICD-10-CM: the general equivalence maps, and which of several targets is taken."""

import csv
from pathlib import Path

import duckdb
import pytest

from engine.terminology import crosswalk, icd


@pytest.mark.parametrize(
    ("icd9", "icd10"),
    [
        ("9:4280", "10:I509"),
        ("9:428.0", "10:I509"),
        ("9:4019", "10:I10"),
        ("9:25000", "10:E119"),
        ("9:0389", "10:A419"),
        ("9:0066", "10:A067"),
        ("9:V5861", "10:Z7901"),
        ("9:v58.61", "10:Z7901"),
        ("9:E8788", "10:Y838"),
    ],
)
def test_a_single_target_is_taken(icd9, icd10):
    assert crosswalk.to_icd10(icd9) == icd10


@pytest.mark.parametrize(
    ("icd9", "icd10", "why"),
    [
        ("9:0730", "10:A70", "the first part of a combination: the disease, not the pneumonia"),
        ("9:4254", "10:I428", "other cardiomyopathies, not restrictive ones"),
        ("9:6961", "10:L408", "other psoriasis, not psoriasis vulgaris"),
        ("9:9849", "10:T560X1A", "the toxic effect of lead, not gout; an accident, not an assault"),
        ("9:2724", "10:E785", "hyperlipidemia, unspecified"),
        ("9:5589", "10:K529", "gastroenteritis, unspecified"),
        ("9:1727", "10:C4370", "melanoma of the leg: no side was recorded"),
        ("9:34591", "10:G40919", "an epilepsy without further words is no status epilepticus"),
        ("9:64821", "10:O9902", "a delivery is in childbirth, not in the first trimester"),
        ("9:65701", "10:O403XX0", "or in the third trimester"),
        ("9:43821", "10:I69951", "the dominant side is the right one"),
        ("9:43822", "10:I69954", "the nondominant side is the left one"),
        ("9:34442", "10:G8324", "however it is written"),
        ("9:2111", "10:D131", "several organs are named, but the title says no more than the old"),
    ],
)
def test_of_several_targets_the_closest_is_taken(icd9, icd10, why):
    assert crosswalk.to_icd10(icd9) == icd10, why


@pytest.mark.parametrize(
    "code", ["9:36570", "9:99999", "9:428", "10:I509", "4280", "9:", "", ":", "E8120"]
)
def test_where_there_is_no_map_there_is_no_code(code):
    assert crosswalk.to_icd10(code) is None
    assert crosswalk.equivalent(code) is None


@pytest.mark.parametrize(
    ("icd9", "icd10", "not_this"),
    [
        ("9:3572", "10:E1142", "E08.42, diabetes by another disease"),
        ("9:42781", "10:I495", "R00.1, bradycardia"),
        ("9:1985", "10:C7951", "C79.52, of the marrow alone"),
        ("9:5110", "10:R091", "J86.9, pus"),
        ("9:41511", "10:I2699", "T80.0, air embolism"),
        ("9:70703", "10:L89159", "L89.139, right lower back"),
        ("9:2409", "10:E049", "E01.2, lack of iodine"),
        ("9:25050", "10:E1139", "E11.311, retinopathy with macular edema"),
        ("9:5722", "10:K7682", "K72.91, with coma"),
        ("9:V5865", "10:Z7952", "Z79.51, inhaled steroids"),
        ("9:V5869", "10:Z79899", "Z79.891, opiates"),
        ("9:99529", "10:T50905A", "T43.95XA, psychotropic drugs"),
    ],
)
def test_codes_judged_by_hand(icd9, icd10, not_this):
    assert crosswalk.to_icd10(icd9) == icd10, not_this
    assert crosswalk.equivalent(icd9).reason


@pytest.mark.parametrize("code", ["9:99811", "9:99812", "9:9982", "9:73382", "9:9052"])
def test_no_organ_is_taken_at_random(code):
    assert crosswalk.choices(code) > 1
    assert crosswalk.to_icd10(code) is None


def test_the_hand_table_is_sound():
    table = Path(crosswalk.__file__).parent / "data" / "icd9_choices.csv"
    lines = [line for line in table.read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    rows = list(csv.DictReader(lines))
    assert len(rows) == len({row["icd9"] for row in rows}) > 100
    for row in rows:
        assert row["reason"], row
        assert crosswalk.choices(f"9:{row['icd9']}"), row
        assert not row["icd10"] or icd.title("diagnosis", f"10:{row['icd10']}"), row


def test_few_diagnoses_of_the_demos_stay_without_an_equivalent(demo_data):
    rows = duckdb.sql(f"""
        SELECT trim(icd9_code) FROM read_csv('{demo_data}/mimic-iii-demo/DIAGNOSES_ICD.csv',
                                       all_varchar = true)
        UNION ALL
        SELECT trim(icd_code) FROM read_csv('{demo_data}/mimic-iv-demo/hosp/diagnoses_icd.csv.gz',
                                      all_varchar = true) WHERE icd_version = '9'
    """).fetchall()
    codes = [f"9:{code}" for (code,) in rows if code]
    stay = [code for code in codes if crosswalk.choices(code) and not crosswalk.to_icd10(code)]
    assert 0 < len(stay) < 0.005 * len(codes)


def test_what_the_map_says_about_its_choice():
    assert crosswalk.equivalent("9:5849") == crosswalk.Equivalent("10:N179", True, False, 1)
    assert crosswalk.equivalent("9:4254") == crosswalk.Equivalent("10:I428", False, False, 2)
    assert crosswalk.equivalent("9:0730").part


def test_every_target_has_a_title():
    codes = [code for code in icd.codes("diagnosis") if code.startswith("9:")]
    targets = {target for code in codes if (target := crosswalk.to_icd10(code))}
    assert len(targets) > 9_000
    assert [target for target in sorted(targets) if not icd.title("diagnosis", target)] == []
