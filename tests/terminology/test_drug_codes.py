"""ATC codes that a row brings along (by its NDC, or from its source) beside the written name."""

import pytest

from engine.terminology.drugs import match

ASPIRIN = ("A01AD05", "B01AC06", "N02BA01")
VANCOMYCIN = ("A07AA09", "J01XA01", "S01AA28")


@pytest.mark.parametrize(
    ("drug", "route", "codes", "groups"),
    [
        ("Aspirin", "PO", ASPIRIN, ["B01A", "N02B"]),  # what our table says of aspirin by mouth
        ("Aspirin 81 mg", "PO", ASPIRIN, ["B01A"]),
        ("Vancomycin", "PO", VANCOMYCIN, ["A07A"]),
        ("Vancomycin", "IV", VANCOMYCIN, ["J01X"]),
        ("Timolol Maleate 0.5%", "BOTH EYES", ("C07AA06", "S01ED01"), ["S01E"]),
    ],
)
def test_codes_and_name_keep_what_they_have_in_common(drug, route, codes, groups):
    found = match(drug, route, "MAIN", codes)
    assert (list(found.groups), found.kind) == (groups, "mapped")
    assert found.rule.startswith("code and name; route ")
    assert found.ingredient is not None


@pytest.mark.parametrize(
    ("drug", "route", "codes", "groups"),
    [
        ("VANC 125 SUSP (own)", "PO", VANCOMYCIN, ["A07A"]),
        ("VANC 125 SUSP (own)", None, VANCOMYCIN, ["J01X"]),
        ("XQZ", "OU", VANCOMYCIN, ["S01A"]),
        ("XQZ", "IV", ("S01AA28", "D06AX09"), ["D06A", "S01A"]),  # none fits: all
        ("XQZ", "IV", ("B01A",), ["B01A"]),  # an ancestor of four characters
        ("", "IV", ("B01AB01",), ["B01A"]),
    ],
)
def test_codes_stand_for_a_name_that_says_nothing(drug, route, codes, groups):
    found = match(drug, route, "MAIN", codes)
    assert (list(found.groups), found.kind) == (groups, "mapped")
    assert found.rule.startswith("code; route ")


@pytest.mark.parametrize(
    ("drug", "codes", "groups"),
    [
        ("Lisinopril", ("C09BA03",), ["C09B"]),  # the package holds the combination
        ("Metoprolol", ("C09AA03",), ["C09A"]),  # one of the two is wrong
    ],
)
def test_codes_win_over_a_name_that_says_otherwise_and_the_rule_tells(drug, codes, groups):
    found = match(drug, "PO", "MAIN", codes)
    assert (list(found.groups), found.kind) == (groups, "mapped")
    assert found.rule == "code against the name; route oral"


def test_a_name_that_is_no_drug_stays_none():
    found = match("Heparin Flush (10 units/ml)", "IV", "MAIN", ("B01AB01",))
    assert (found.kind, found.groups) == ("non_drug", ())


def test_codes_of_no_known_group_are_ignored():
    assert match("XQZ", "PO", "MAIN", ("ZZZZ", "X01", "")).kind == "unmapped"
    assert match("Lisinopril", "PO", "MAIN", ("ZZZZ",)) == match("Lisinopril", "PO", "MAIN")


def test_codes_in_any_order_give_the_same():
    assert match("XQZ", "PO", None, ASPIRIN) == match("XQZ", "PO", None, ASPIRIN[::-1])


def test_without_codes_nothing_changes():
    assert match("Aspirin", "PO", "MAIN", ()) == match("Aspirin", "PO", "MAIN")
