"""`engine score`: what it prints, what it writes, and how it fails."""

import pandas
import pytest

from engine.cli import main


def run(*words) -> int:
    return main(["score", *(str(word) for word in words)])


@pytest.mark.parametrize(
    ("model", "asked"), [("student", ["student"]), ("both", ["student", "teacher"])]
)
def test_it_writes_the_file_and_says_what_is_in_it(
    model, asked, capsys, tiny_cohort, tiny_pair, tmp_path
):
    file = tmp_path / "new" / "scores.parquet"
    options = ["--output", file, "--models", tiny_pair, "--model", model, "--split", "test"]
    assert run(tiny_cohort, *options) == 0
    printed = capsys.readouterr()
    table = pandas.read_parquet(file)
    assert f"{len(table):,} visits of {table.patient_id.nunique():,} patients" in printed.out
    assert printed.out.splitlines()[-1] == f"written: {file}"
    assert list(dict.fromkeys(name.split("_")[0] for name in table.columns[2:])) == asked
    for identifier in (*table.patient_id, *table.visit_id):
        assert identifier not in printed.out + printed.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["COHORT", "--output", "FOLDER"], "is a folder; name a file such as scores.parquet"),
        (["COHORT", "--output", "FILE", "--models", "FOLDER"], "no trained pair there"),
        (["FOLDER", "--output", "FILE"], "is missing; ingest the cohort again"),
        (["COHORT", "--output", "FILE/within"], "Not a directory|exists"),
        (["COHORT", "--output", "FILE", "--ray", "ray://host:10001"], "--ray auto or"),
        (["COHORT", "--output", "FILE", "--ray", "localhost:1"], "nothing answers there"),
        (["COHORT", "--output", "FILE", "--ray", "localhost:six"], "nothing answers there"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_code_2(
    words, said, capsys, tiny_cohort, tiny_pair, tmp_path, monkeypatch
):
    folder = tmp_path / "folder"
    folder.mkdir()
    file = tmp_path / "scores.parquet"
    if "FILE/within" in words:
        file.write_text("a file where a folder should be")
    if "--ray" in words:
        pytest.importorskip("ray")
    stand_ins = {
        "COHORT": tiny_cohort,
        "FOLDER": folder,
        "FILE": file,
        "FILE/within": file / "within",
    }
    options = [] if "--models" in words else ["--models", tiny_pair]
    assert run(*(stand_ins.get(word, word) for word in words), *options) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert any(part in lines[0] for part in said.split("|"))


def test_no_workers_are_refused(capsys, tiny_cohort, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run(tiny_cohort, "--output", tmp_path / "scores.parquet", "--workers", "0")
    assert stopped.value.code == 2
    assert "expected 1 or more" in capsys.readouterr().err
