"""The funnel prints every number in its column and every reason beside its count."""

from dataclasses import replace

import pytest

from engine.records.funnel import LARGEST, Funnel, TableCount, masked

FUNNEL = Funnel(
    tables=(
        TableCount("patients", 1200, 1200),
        TableCount("prescriptions", 31000, 30000, {"no drug name": 10, "not known": 990}),
    ),
    absent=("d_icd_procedures",),
    patients=1200,
    visits=2000,
    labelled_visits=1900,
    first_visits=1200,
    mapping={"mapped": 30000, "non_drug": 500, "unmapped": 490},
    unmapped=(("Zzyzxol", 300), ("Qwertin", 150)),
    unmapped_names=14,
    vocabulary={"diagnoses": 1234, "procedures": 0, "medications": 140},
)


def test_recognised_is_everything_but_the_unmapped():
    assert FUNNEL.recognised == 1 - 490 / 30990


def test_text_is_aligned_and_complete():
    text = FUNNEL.as_text()
    assert "prescriptions           31,000      30,000       1,000" in text
    assert text.index("990  not known") < text.index("10  no drug name")
    assert "30,000   96.8%  to a medication group" in text
    assert "300  Zzyzxol" in text
    assert "d_icd_procedures" in text
    assert "12 rarer names (40 rows)" in text
    assert "  diagnoses              1,234\n  procedures                 0\n" in text


def test_names_beyond_those_printed_are_counted_with_the_rare_ones():
    unmapped = tuple((f"name {place}", 100 - place) for place in range(LARGEST + 2))
    mapping = {"mapped": 0, "non_drug": 0, "unmapped": sum(rows for _, rows in unmapped) + 3}
    text = replace(FUNNEL, unmapped=unmapped, mapping=mapping, unmapped_names=20).as_text()
    assert f"name {LARGEST - 1}" in text and f"name {LARGEST}" not in text
    assert "5 rarer names (172 rows)" in text  # 85 + 84 + 3


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Drug for MRN 123456", "Drug for MRN [number]"),
        ("call 555-1234 or (617) 555-1234", "call [number] or [number]"),
        ("+49 30 123 4567 please", "[number] please"),
        ("ask john.smith@hospital.org", "ask [address]"),
        ("since 2150-03-01", "since [number]"),
        ("lot ١٢٣٤٥٦", "lot [number]"),
        ("Zzyzxol 500-125 mg in 1000 mL 0.9 %", "Zzyzxol 500-125 mg in 1000 mL 0.9 %"),
        ("1234 mg (12-34)", "1234 mg (12-34)"),
    ],
)
def test_numbers_and_addresses_of_people_are_masked(name, shown):
    assert masked(name) == shown


def test_a_very_long_name_is_masked_before_it_is_cut():
    assert masked("x" * 95 + " john@smith.org") == "x" * 95 + " [add"
    assert len(masked("(1 " * 10_000_000)) <= 100


def test_a_cohort_without_prescriptions_has_a_funnel():
    empty = Funnel((), (), 0, 0, 0, 0, {"mapped": 0, "non_drug": 0, "unmapped": 0}, ())
    assert empty.recognised == 1.0
    assert "0.0%" in empty.as_text()


def test_a_name_cannot_steer_the_terminal():
    odd = Funnel(
        (), (), 0, 0, 0, 0, {"mapped": 0, "non_drug": 0, "unmapped": 1}, (("\x1b[2Jx", 1),)
    )
    assert "\x1b" not in odd.as_text()
    assert "?[2Jx" in odd.as_text()
