"""The benchmark of the app: its summary, and what it says where it cannot run."""

import pytest

from bench import app
from bench.__main__ import main

WAYS = {
    "app": {
        "first_page": 3000.0,
        "first_student": 900.0,
        "first_teacher": 4000.0,
        "student": [100.0, 200.0, 280.0],
        "teacher": [700.0, 800.0, 900.0],
    },
    "plain": {
        "first_page": 9000.0,
        "first_student": 1800.0,
        "first_teacher": 1800.0,
        "student": [600.0, 800.0, 1000.0],
        "teacher": [600.0, 800.0, 1000.0],
    },
}


def test_medians_are_compared_with_the_plain_way_and_the_limits():
    figures = app.summarised(WAYS)
    assert figures["ways"]["app"]["student"]["p50_ms"] == 200
    assert figures["ways"]["app"]["student"]["p95_ms"] == pytest.approx(272)
    assert figures["ratios"]["student"] == 0.25
    assert figures["ratios"]["first_page"] == pytest.approx(1 / 3)
    assert figures["limits_met"] == {"first_page": True, "student": True}
    slow = {**WAYS, "app": WAYS["app"] | {"student": [301.0] * 3}}
    assert app.summarised(slow)["limits_met"] == {"first_page": True, "student": False}


def test_the_table_has_a_line_a_figure_and_a_verdict_a_limit():
    figures = {"browser": "Chromium 1", "patients": 3, **app.summarised(WAYS)}
    table = app.as_text(figures)
    assert all(title in table for title in app.FIGURES.values())
    student = next(line for line in table.splitlines() if line.startswith("patient opened to stu"))
    assert student.split()[-5:] == ["200", "272", "800", "980", "0.25"]
    assert "within 300 ms: met" in table


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--chromium", "/nowhere/chromium"], "--chromium PATH"),
        (["--patients", "25"], "1 to 24"),
    ],
)
def test_what_keeps_it_from_running_is_one_line(arguments, words, tiny_cohort, capsys):
    assert main(["app", str(tiny_cohort), *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words in said
    assert said.count("\n") == 1


def test_a_missing_cohort_is_one_line(tmp_path, capsys):
    assert main(["app", str(tmp_path / "none")]) == 2
    assert "no cohort there" in capsys.readouterr().err


@pytest.mark.browser
@pytest.mark.skipif(not app.shutil.which("chromium"), reason="no Chromium here")
def test_it_measures_both_ways_in_a_browser(tiny_cohort, tiny_pair):
    figures = app.measure(tiny_cohort, tiny_pair, 2, app.shutil.which("chromium"))
    for way in app.WAYS:
        assert set(figures["ways"][way]) == set(app.FIGURES)
        for name in app.MANY:
            assert figures["ways"][way][name]["p50_ms"] > 0
