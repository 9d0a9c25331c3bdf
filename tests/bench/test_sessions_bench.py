"""The benchmark of many sessions: its summary, what it refuses, and two real sessions."""

import pytest

from bench import sessions
from bench.__main__ import main


def figures(waits, errors=0):
    found = {**sessions.summarised(waits), "errors": errors, "memory_bytes": 900_000_000}
    return {
        "sessions": 20,
        "patients": 4,
        "pause_seconds": 5.0,
        "one": found,
        "many": found,
        "limit_ms": sessions.LIMIT,
        "limit_met": not errors,
    }


def test_the_table_has_a_line_for_one_and_one_for_all_and_a_verdict():
    table = sessions.as_text(figures([100.0, 200.0, 300.0])).splitlines()
    assert table[1].split() == ["1", "3", "200", "290", "300", "0", "900"]
    assert table[2].split()[0] == "20"
    assert table[3].endswith("no error: met")
    assert "NOT MET" in sessions.as_text(figures([], errors=3))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--patients", "25"], "1 to 24"),
        (["--sessions", "0"], "1 to 200"),
        (["--pause", "-1"], "0"),
    ],
)
def test_what_keeps_it_from_running_is_one_line(arguments, words, tiny_cohort, capsys):
    assert main(["sessions", str(tiny_cohort), *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and words in said and said.count("\n") == 1


@pytest.mark.slow
def test_sessions_sign_in_open_patients_and_get_the_students_answer(tiny_cohort, tiny_pair):
    found = sessions.measure(tiny_cohort, tiny_pair, 2, 2, 0.1)
    for name, expected in (("one", 2), ("many", 4)):
        assert found[name]["answers"] == found[name]["expected"] == expected
        assert not found[name]["errors"]
        assert found[name]["memory_bytes"] > 0
