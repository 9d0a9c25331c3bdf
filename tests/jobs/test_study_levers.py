"""RQ5: each lever switched alone, held against the recipe, with what was not run named."""

from dataclasses import replace

import pytest

from engine.config import Recipe
from engine.jobs import study_levers
from engine.jobs.study import study
from engine.jobs.study_levers import Lever, student_levers, teacher_levers
from engine.jobs.study_models import Workshop
from engine.jobs.study_parts import Parts
from engine.jobs.study_plan import Setting, edited
from engine.jobs.study_report import html, markdown
from engine.records.cohort import Cohort
from engine.registry.pair import open_pair


def changes(recipe: Recipe, lever: Lever) -> dict:
    """Field → its value with the lever switched, of what the lever changes."""
    own, other = recipe.model_dump(), lever.of(recipe).model_dump()
    return {
        f"{section}.{name}": value
        for section in ("data", "prompt", "teacher", "student")
        for name, value in other[section].items()
        if value != own[section][name]
    }


def switched(recipe: Recipe, levers: list[Lever]) -> dict:
    found = [changes(recipe, lever) for lever in levers]
    assert all(found), "a lever that changes nothing"
    return {name: value for each in found for name, value in each.items()}


def test_a_lever_is_switched_on_where_it_is_off_and_off_where_it_is_on():
    off = Recipe(name="r")
    assert switched(off, student_levers(off)) == {
        "student.linear_path": True,
        "student.logit_weight": 1.0,
        "student.embeddings_from_teacher": True,
        "data.samples": "last",
    }
    options = {"linear_path": True, "logit_weight": 2.0, "embeddings_from_teacher": True}
    on = edited(off, student=options | {"unlabelled": 2}, data={"samples": "last"})
    assert switched(on, student_levers(on)) == {
        "student.linear_path": False,
        "student.logit_weight": 0.0,
        "student.embeddings_from_teacher": False,
        "student.unlabelled": 0,
    }


def test_teacher_levers_keep_the_scale_of_the_adapters_and_leave_out_what_cannot_be():
    recipe = edited(Recipe(name="r"), teacher={"lora_rank": 8, "lora_alpha": 32})
    found = switched(recipe, teacher_levers(recipe))
    assert found.pop("teacher.preparation")["steps"] > 0
    assert found == {
        "teacher.class_weighting": "sqrt",
        "teacher.label_smoothing": 0.05,
        "teacher.focal_gamma": 1.0,
        "teacher.lora_rank": 4,
        "teacher.lora_alpha": 16,
        "teacher.pooling": "last_and_mean",
        "prompt.titles": "short",
        "prompt.order": "medications_first",
        "data.samples": "last",
    }
    four_bits = edited(recipe, teacher={"load_in_4bit": True, "lora_rank": 1})
    names = {lever.name for lever in teacher_levers(four_bits)}
    assert not names & {"preparation", "lora_rank"}


@pytest.fixture(scope="module")
def setting(tiny_cohort, tiny_pair, tmp_path_factory) -> Setting:
    pair = open_pair(tiny_pair)
    return Setting(
        Cohort.open(tiny_cohort),
        pair.recipe,
        tmp_path_factory.mktemp("levers") / "study",
        pair,
        seeds=1,
        only=("rq5",),
        resamples=20,
        interaction_losses=((10.0, 0.0),),
    )


def test_every_lever_is_held_against_the_recipe(setting):
    report = study(setting, say=lambda text: None)
    question = report["questions"]["rq5"]
    against = {(row["a"], row["b"]) for row in question["paired"]}
    for lever in ("linear_path", "logits", "titles", "last"):
        assert (f"lever_{lever}", "student") in against
        assert report["models"][f"lever_{lever}"]["groups"] != report["models"]["student"]["groups"]
    assert ("lever_undistilled_linear_path", "student_undistilled") in against
    first, second = question["tradeoff"]
    assert (first["weight"], second["weight"]) == (0.0, 10.0)
    size = report["models"]["student"]["runs"][0]["parameters"]
    assert report["models"]["lever_linear_path"]["runs"][0]["parameters"] > size
    assert {text.split(":")[0] for text in report["not_measured"]} >= {
        "RQ5, student with altered visits",
        "RQ1",
    }
    assert any(text.startswith("RQ5, teachers (") for text in report["not_measured"])
    text, page = markdown(report), html(report)
    assert "Overall excludes zero" in text
    assert "Student, with a linear path − student" in text
    assert "As prescribed" in text
    assert 'id="chart-levers"' in page and 'id="chart-tradeoff"' in page


def test_with_teachers_one_is_trained_a_lever_and_altered_visits_are_read(setting, monkeypatch):
    few = [Lever("last", "each patient's last visit only", {"data": {"samples": "last"}})]
    monkeypatch.setattr(study_levers, "teacher_levers", lambda recipe: few)
    monkeypatch.setattr(study_levers, "student_levers", lambda recipe: [])
    asked = replace(setting, only=("rq2", "rq5"), teachers=True, interaction_losses=())
    report = study(asked, say=lambda text: None)
    models = report["models"]
    trained = {path.name.rpartition("-")[0] for path in (asked.output / "teachers").iterdir()}
    assert trained == {
        "teacher_no_profile",
        "teacher_no_history",
        "teacher_no_semantics",
        "teacher_lever_last",
    }
    for name in ("no_profile", "no_history", "no_semantics"):
        assert models[name]["title"].startswith("Student, ")
        assert models[f"teacher_{name}"]["runs"][0]["trained"] > 0
    assert ("teacher_lever_last", "teacher") in {
        (row["a"], row["b"]) for row in report["questions"]["rq5"]["paired"]
    }
    assert models["lever_copies"]["title"] == "Student, with altered visits"
    assert models["lever_copies"]["groups"] != models["student"]["groups"]
    assert not any("--teachers" in text for text in report["not_measured"])


def test_a_student_of_last_visits_gets_the_teachers_word_on_just_these(setting):
    recipe = edited(setting.recipe, student={"unlabelled": 2})
    last = edited(recipe, data={"samples": "last"})
    workshop = Workshop(setting.cohort, recipe, Parts(setting.output), setting.output, setting.pair)
    count = len(workshop.training)
    rows = workshop._rows(last, 2 * count)
    patients = {visit.patient_id for visit in workshop.training}
    assert len(rows) == 3 * len(patients)
    chosen = [workshop.training[row] for row in rows[: len(patients)]]
    assert {visit.patient_id for visit in chosen} == patients
    assert rows[len(patients) :] == [
        start + row for start in (count, 2 * count) for row in rows[: len(patients)]
    ]
    assert workshop._rows(recipe, 0) == list(range(count))
