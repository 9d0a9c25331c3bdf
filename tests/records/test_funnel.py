"""The funnel prints every number in its column and every reason beside its count."""

from engine.records.funnel import Funnel, TableCount

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
    unmapped=(("Zzyzxol", 300), ("Qwertin", 190)),
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
