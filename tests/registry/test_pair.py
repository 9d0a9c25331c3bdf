"""Pairs on disk: a damaged or foreign file is named, nothing damaged is ever loaded."""

import json
import shutil
from pathlib import Path

import pytest

from engine.errors import WorkbenchError
from engine.registry.pair import MANIFEST, champion_folder, open_pair, reseal, seal


@pytest.fixture
def pair(tiny_pair, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_pair, tmp_path / "pair"))


def refused(folder: Path) -> str:
    with pytest.raises(WorkbenchError) as error:
        open_pair(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_sound_pair_opens_with_both_versions(pair):
    opened = open_pair(pair)
    assert set(opened.versions) == {"teacher", "student"}
    assert set(opened.calibration) == {"teacher", "student", "student_undistilled"}


def test_a_run_folder_stands_for_its_pair(tiny_run):
    assert open_pair(tiny_run).folder == tiny_run / "pair"


@pytest.mark.parametrize(
    "name", ["student.safetensors", "adapter/adapter_model.safetensors", "vocabulary.json"]
)
def test_a_changed_file_is_named(pair, name):
    with (pair / name).open("ab") as file:
        file.write(b" ")
    said = refused(pair)
    assert str(pair / name) in said
    assert "SHA-256" in said


def test_a_missing_file_is_named(pair):
    (pair / "student.safetensors").unlink()
    assert "student.safetensors: missing" in refused(pair)


def test_an_empty_folder_is_no_pair(tmp_path):
    assert "no trained pair there" in refused(tmp_path)


def test_a_manifest_that_is_none_is_named(pair):
    (pair / MANIFEST).write_text("{}")
    assert "not a pair's manifest" in refused(pair)


def test_a_manifest_may_not_reach_outside_its_folder(pair):
    manifest = json.loads((pair / MANIFEST).read_text())
    manifest["files"]["../outside.txt"] = "0"
    (pair / MANIFEST).write_text(json.dumps(manifest))
    assert "outside its own folder" in refused(pair)


def reopened_with(pair, calibration):
    """Store this calibration and seal the pair again, as its own."""
    (pair / "calibration.json").write_text(json.dumps(calibration))
    manifest = json.loads((pair / MANIFEST).read_text())
    seal(pair, {key: value for key, value in manifest.items() if key != "files"})
    return open_pair(pair).calibration


def test_a_calibration_of_before_opens_without_isotonic_points_or_sets(pair):
    old = {"temperature": 1.07, "threshold": 0.31}
    models = ("teacher", "student", "student_undistilled")
    for calibration in reopened_with(pair, dict.fromkeys(models, old)).values():
        assert (calibration.temperature, calibration.threshold) == (1.07, 0.31)
        assert (calibration.isotonic, calibration.prediction_set) == (None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 1.0, "isotonic": [[1, 0.5], [0, 0.6]]},
        {"temperature": 1.0, "isotonic": "steep"},
        {"temperature": 1.0, "prediction_set": {"coverage": 2, "logit": 0, "patients": 5}},
        {"temperature": 1.0, "prediction_set": 0.9},
        ["temperature"],
    ],
)
def test_a_calibration_that_is_none_is_named(pair, wrong):
    sound = json.loads((pair / "calibration.json").read_text())
    with pytest.raises(WorkbenchError, match="calibration.json: expected the calibration of each"):
        reopened_with(pair, sound | {"student": wrong})


def test_new_metrics_leave_weights_and_version_as_they_were(pair):
    before = open_pair(pair)
    reseal(before, {"validation": {}}, "# card")
    after = open_pair(pair)
    assert after.versions == before.versions
    assert (pair / "card.md").read_text() == "# card"


def test_the_shipped_champion_opens():
    assert open_pair(champion_folder(Path(__file__).parents[2] / "pretrained")).versions


def test_a_missing_alias_file_says_what_to_do(tmp_path):
    with pytest.raises(WorkbenchError, match="--models"):
        champion_folder(tmp_path)
