"""Short titles: shorter, still English, never empty, and the medication groups stay apart."""

import pytest

from engine.terminology import atc, icd, titles


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("Hyperlipidemia, unspecified", "Hyperlipidemia"),
        ("Unspecified atrial fibrillation", "Atrial fibrillation"),
        ("Essential (primary) hypertension", "Essential hypertension"),
        ("Long term (current) use of insulin", "On insulin"),
        ("Pain in unspecified knee", "Pain in knee"),
        ("Chronic kidney disease, stage 3 unspecified", "Chronic kidney disease, stage 3"),
        ("Urinary tract infection, site not specified", "Urinary tract infection"),
        ("Esophageal varices without mention of bleeding", "Esophageal varices"),
        (
            "Hypertensive chronic kidney disease with stage 1 through stage 4 chronic kidney "
            "disease, or unspecified chronic kidney disease",
            "Hypertensive chronic kidney disease with stage 1 through stage 4 chronic kidney "
            "disease",
        ),
        (
            "Diabetes mellitus without mention of complication, type II or unspecified type, "
            "not stated as uncontrolled",
            "Diabetes mellitus, type II",
        ),
        (
            "Multiple fractures of ribs, left side, initial encounter for closed fracture",
            "Multiple fractures of ribs, left side",
        ),
        (
            "Insertion of Infusion Device into Superior Vena Cava, Percutaneous Approach",
            "Insertion of Infusion Device into Superior Vena Cava",
        ),
        ("Chronic or unspecified duodenal ulcer", "Chronic duodenal ulcer"),
        ("Acute embolism, subsequent encounter", "Acute embolism, subsequent encounter"),
    ],
)
def test_what_says_nothing_more_goes(long, short):
    assert titles.short(long) == short


@pytest.mark.parametrize("kind", ["diagnosis", "procedure"])
def test_every_official_title_stays_readable_and_none_grows(kind):
    for code in icd.codes(kind):
        long = icd.title(kind, code)
        short = titles.short(long)
        assert 3 <= len(short) <= len(long), code
        assert "unspecified" not in short.lower().split(), (code, short)


def test_a_title_that_is_nothing_else_is_kept():
    assert titles.short("[Deleted]") == "[Deleted]"


def test_medication_groups_without_brackets_are_still_told_apart():
    names = [titles.without_brackets(name) for name in atc.groups().values()]
    assert len(set(names)) == len(names)
