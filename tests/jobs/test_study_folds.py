"""A pair adapted to a cohort it has not seen: folds by patient, nobody tested on twice."""

import numpy as np
import pytest

from engine.cli import main
from engine.errors import WorkbenchError
from engine.jobs.study_folds import adapted_study, make_folds
from engine.jobs.study_plan import Setting
from engine.jobs.study_report import markdown
from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from engine.registry.pair import open_pair
from sample_data.generate import generate
from sample_data.tables import write_tables


@pytest.fixture(scope="module")
def unseen(tmp_path_factory) -> Cohort:
    """Another hospital of 30 synthetic patients."""
    folder = tmp_path_factory.mktemp("unseen")
    write_tables(generate(patients=30, seed=99), folder / "tables")
    ingest(folder / "tables", folder / "cohort")
    return Cohort.open(folder / "cohort")


def test_every_visit_is_tested_once_by_models_that_never_saw_its_patient(unseen):
    visits = unseen.samples()
    folds = make_folds(visits, 5, seed=0)
    tested = sorted(row for fold in folds for row in fold.test)
    assert tested == list(range(len(visits)))
    for fold in folds:
        parts = [
            {visits[row].patient_id for row in rows}
            for rows in (fold.training, fold.validation, fold.test)
        ]
        assert all(parts)
        assert not parts[0] & parts[2] and not parts[1] & parts[2] and not parts[0] & parts[1]


def test_an_adapted_study_has_its_report_and_goes_on(unseen, tiny_pair, tmp_path):
    pair = open_pair(tiny_pair)
    setting = Setting(unseen, pair.recipe, tmp_path / "s", pair, seeds=1, resamples=50)
    report = adapted_study(setting, 2, say=lambda text: None)
    models = report["models"]
    assert {"teacher_adapted", "student_adapted", "student", "copy_previous"} <= set(models)
    text = markdown(report)
    assert "## How well does the pair adapt to this hospital?" in text
    assert "Student, adapted − copy previous visit" in text
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s/parts").glob("*.json")}
    again = adapted_study(setting, 2, say=lambda text: None)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "s/parts").glob("*.json")}
    assert before == after
    for name in models:
        means = [
            one["models"][name]["groups"]["overall"]["prauc"]["mean"] for one in (report, again)
        ]
        np.testing.assert_allclose(*means)


def test_the_pairs_own_cohort_and_too_many_folds_are_refused(
    capsys, tiny_cohort, tiny_pair, unseen, tmp_path
):
    command = ["study", tiny_cohort, "--models", tiny_pair, "--output", tmp_path, "--folds", "2"]
    assert main([str(word) for word in command]) == 2
    assert "was trained on this cohort" in capsys.readouterr().err
    pair = open_pair(tiny_pair)
    setting = Setting(unseen, pair.recipe, tmp_path / "s", pair)
    with pytest.raises(WorkbenchError, match="--folds 29: expected 2 to"):
        adapted_study(setting, 29)
