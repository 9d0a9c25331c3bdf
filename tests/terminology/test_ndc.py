import pytest

from engine.terminology.ndc import spellings


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("00904404073", "00904404073"),
        (" 00904404073 ", "00904404073"),
        ("0904-4040-73", "00904404073"),  # 4-4-2
        ("50458-191-15", "50458019115"),  # 5-3-2
        ("63323-2620-1", "63323262001"),  # 5-4-1
        ("00904-4040-73", "00904404073"),  # 5-4-2
        ("000904-4040-73", "00904404073"),  # 6-4-2
        ("*0904-4040-73", "00904404073"),
        ("000904404073", "00904404073"),  # twelve digits with a leading zero
        ("338001702", "00338001702"),  # zeros that a spreadsheet dropped
        ("338001702.0", "00338001702"),
    ],
)
def test_one_reading(written, code):
    assert spellings(written) == (code,)


def test_ten_digits_have_three_readings():
    assert spellings("5045801911") == ("05045801911", "50458001911", "50458019101")


@pytest.mark.parametrize(
    "written",
    ["", "0", "00000000000", "0.0", "none", "12-34", "1-2-3-4", "123456-7890-12", "12345-6789",
     "123456", "123456789012", "9" * 400, "5.97622E+10", "１２３４５６７８９０１"],
)  # fmt: skip
def test_what_is_no_ndc(written):
    assert spellings(written) == ()
