"""Two pairs on the test part of a cohort."""

import json
import shutil

import pytest

from engine.errors import WorkbenchError
from engine.evaluation.metrics import average_precision
from engine.files import read_json, write_json
from engine.jobs.compare import compare_pairs
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.records.labels import label_matrix
from engine.registry.pair import seal


def silent(text):
    pass


@pytest.fixture(scope="module")
def cohort(tiny_cohort):
    return Cohort.open(tiny_cohort)


@pytest.fixture
def other_pair(tiny_pair, tmp_path):
    """The same pair, trained on another cohort by its own account."""
    folder = tmp_path / "other"
    shutil.copytree(tiny_pair, folder)
    facts = read_json(folder / "manifest.json", "")
    facts.pop("files")
    facts |= {"version": "other-1", "cohort": facts["cohort"] | {"fingerprint": "0" * 64}}
    seal(folder, facts)
    return folder


def test_both_pairs_answer_the_test_visits(cohort, tiny_pair, other_pair):
    said = []
    report = compare_pairs(cohort, tiny_pair, other_pair, said.append)
    assert report["counts"]["overall"]["visits"] == len(cohort.samples("test"))
    assert report["candidate"]["version"] == read_json(tiny_pair / "manifest.json", "")["version"]
    assert report["champion"]["version"] == "other-1"
    assert {line["difference"] for line in report["lines"]} <= {0.0, None}
    assert report["settings"]["fingerprint"] == cohort.fingerprint
    assert "the candidate answers" in said[0] and "the champion answers" in said[1]
    json.dumps(report, allow_nan=False)


def test_rankings_go_by_the_logits_of_the_models(cohort, tiny_pair):
    report = compare_pairs(cohort, tiny_pair, tiny_pair, silent)
    visits = cohort.samples("test")
    recommender = Recommender.load(tiny_pair)
    truth, missing = label_matrix(visits, recommender.vocabulary)
    wanted = average_precision(truth, recommender.student_logits(visits), missing).mean()
    found = next(
        line
        for line in report["lines"]
        if (line["model"], line["metric"], line["group"]) == ("student", "prauc", "overall")
    )
    assert found["candidate"] == pytest.approx(wanted)


def test_a_champion_of_another_cohort_is_said(cohort, tiny_pair, other_pair):
    notes = compare_pairs(cohort, tiny_pair, other_pair, silent)["notes"]
    assert any("champion was trained on another cohort" in note for note in notes)
    notes = compare_pairs(cohort, tiny_pair, tiny_pair, silent)["notes"]
    assert not any("another cohort" in note for note in notes)


def test_a_damaged_champion_is_one_line(cohort, tiny_pair, other_pair):
    (other_pair / "student.safetensors").write_bytes(b"")
    with pytest.raises(WorkbenchError, match="student.safetensors"):
        compare_pairs(cohort, tiny_pair, other_pair, silent)


def test_a_cohort_without_test_visits_is_one_line(tiny_cohort, tiny_pair, tmp_path):
    folder = tmp_path / "cohort"
    shutil.copytree(tiny_cohort, folder)
    splits = read_json(folder / "splits.json", "")
    write_json(folder / "splits.json", dict.fromkeys(splits, "train"))
    with pytest.raises(WorkbenchError, match="no labelled visits in part 'test'"):
        compare_pairs(Cohort.open(folder), tiny_pair, tiny_pair, silent)
