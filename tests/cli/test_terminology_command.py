"""`engine terminology`: what it prints, and how it fails."""

import json

from engine.cli import main
from tests import rrf


def printed(capsys, *arguments) -> str:
    assert main(["terminology", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def fails(capsys, *arguments) -> str:
    assert main(["terminology", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    return said.err.strip().splitlines()[-1]


def test_a_map_is_built_and_answers_for_an_ndc(capsys, tmp_path):
    rrf.write_rrf(tmp_path / "rrf")
    output = tmp_path / "maps" / "rxnorm.sqlite"
    shown = printed(capsys, "rxnorm", tmp_path / "rrf", "--output", output)
    assert "11  NDCs\n" in shown
    assert "10  of them lead to an ATC code\n" in shown
    assert str(output) in shown
    shown = printed(capsys, "lookup", "0406-0512-01", "--drug-map", output)
    assert "00406051201" in shown
    assert "N02AJ17" in shown
    assert "acetaminophen, oxycodone" in shown


def test_a_lookup_is_aligned(capsys):
    lines = printed(capsys, "lookup", "vancomycin", "--route", "PO").splitlines()
    assert lines[0] == "drug  vancomycin  vancomycin"
    starts = {line.index(word) for line in lines for word in ("A07A ", "name; route oral")
              if word in line}  # fmt: skip
    assert len(starts) == 1


def test_words_need_no_quotation_marks(capsys):
    assert "C09A" in printed(capsys, "lookup", "lisinopril", "10", "mg")


def test_a_lookup_as_json(capsys):
    diagnosis, procedure = json.loads(printed(capsys, "lookup", "0066", "--json"))
    assert diagnosis["code"] == procedure["code"] == "9:0066"
    assert diagnosis["facts"]["in ICD-10"][0]["code"] == "10:A067"


def test_a_fluid_gives_both_readings_or_that_of_a_row(capsys):
    both = printed(capsys, "lookup", "NS")
    assert "B05B" in both
    assert "no drug  NS  vehicle" in both
    assert "B05B" not in printed(capsys, "lookup", "NS", "--drug-type", "base")
    assert "no drug" not in printed(capsys, "lookup", "NS", "--drug-type", "MAIN")


def test_an_unknown_text_is_named_on_one_line(capsys):
    assert "near names" in fails(capsys, "lookup", "lisinoprol")


def test_an_ndc_without_a_map_says_how_to_build_one(capsys):
    assert "terminology rxnorm RRF_DIR" in fails(capsys, "lookup", "00904-4040-73")


def test_a_map_that_is_none_is_named(capsys, tmp_path):
    (tmp_path / "map").write_text("no database")
    said = fails(capsys, "lookup", "aspirin", "--drug-map", tmp_path / "map")
    assert str(tmp_path / "map") in said


def test_a_folder_without_rrf_files_leaves_nothing_behind(capsys, tmp_path):
    said = fails(capsys, "rxnorm", tmp_path, "--output", tmp_path / "map")
    assert "RXNCONSO.RRF is missing" in said
    assert list(tmp_path.iterdir()) == []
