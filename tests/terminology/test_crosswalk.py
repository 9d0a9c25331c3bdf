"""ICD-9-CM → ICD-10-CM: the general equivalence maps, and which of several targets is taken."""

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
        ("9:24951", "10:E0839", "a target that stands alone before a combination"),
        ("9:0730", "10:A70", "the first part of a combination: the disease, not the pneumonia"),
        ("9:4254", "10:I428", "other cardiomyopathies, not restrictive ones"),
        ("9:6961", "10:L408", "other psoriasis, not psoriasis vulgaris"),
        ("9:9849", "10:T560X1A", "the toxic effect of lead, not gout; an accident, not an assault"),
        ("9:2724", "10:E785", "hyperlipidemia, unspecified"),
        ("9:5589", "10:K529", "gastroenteritis, unspecified"),
        ("9:1727", "10:C4370", "melanoma of the leg: no side was recorded"),
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


def test_what_the_map_says_about_its_choice():
    assert crosswalk.equivalent("9:5849") == crosswalk.Equivalent("10:N179", True, False, 1)
    assert crosswalk.equivalent("9:4254") == crosswalk.Equivalent("10:I428", False, False, 2)
    assert crosswalk.equivalent("9:0730").part


def test_every_target_has_a_title():
    codes = [code for code in icd.codes("diagnosis") if code.startswith("9:")]
    targets = {target for code in codes if (target := crosswalk.to_icd10(code))}
    assert len(targets) > 9_000
    assert [target for target in sorted(targets) if not icd.title("diagnosis", target)] == []
