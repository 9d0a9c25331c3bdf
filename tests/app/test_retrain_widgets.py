"""The pieces of the Retrain page: what they say of a run, a recipe and a comparison."""

from datetime import UTC, datetime

import pytest

from app.widgets import comparison, recipe_form, run_history, run_progress
from engine.config import Recipe, TeacherRecipe
from engine.errors import WorkbenchError
from engine.evaluation.comparison import CALIBRATION_ERROR
from engine.jobs.progress import Progress

NAMES = ("snapshot", "teacher", "hidden states", "student", "evaluate", "register")


def chain(done, current="running", seconds=5.0):
    return [
        (name, "done" if place < done else current if place == done else "waiting", seconds)
        for place, name in enumerate(NAMES)
    ]


# ---------------------------------------------------------------- a run as it goes


def test_the_chain_says_what_is_done_what_runs_and_what_is_to_come():
    shown = run_progress.stages(chain(2), "running")
    assert shown.count('class="done"') == 2
    assert shown.count('class="running"') == 1
    assert shown.count('class="waiting"') == 3
    assert shown.index("Snapshot") < shown.index("Teacher") < shown.index("Register")


@pytest.mark.parametrize("status", ["failed", "interrupted", "cancelled"])
def test_the_chain_marks_where_a_run_has_stopped(status):
    shown = run_progress.stages(chain(1, "waiting"), status)
    assert shown.count('class="stopped"') == 1
    assert "stopped here" in shown


def test_a_stage_nobody_knows_is_shown_as_text():
    assert "<b>" not in run_progress.stages([("<b>x", "waiting", None)], "queued")


def test_the_line_of_a_run_says_step_and_time_left():
    progress = Progress("teacher", chain(1), step=42, steps=120, eta_seconds=183)
    assert run_progress.words(progress) == "Teacher: step 42 of 120, about 3 min 03 s left"
    assert run_progress.share_done(progress) == 0.35
    words = run_progress.words(Progress("evaluate", chain(4)))
    assert words == "Evaluate: candidate and champion answer the same test visits."
    assert run_progress.words(Progress(None, chain(6))) == "Every stage is done."


def test_memory_is_said_where_it_is_known():
    shown = run_progress.facts(
        Progress("teacher", [], device="cuda:0", memory={"rss": 2_100_000_000, "gpu": 3e9}),
        {"gpu": 24_000_000_000},
    )
    assert "2.1 GB" in shown and "3.0 GB of 24.0 GB" in shown
    shown = run_progress.facts(Progress("teacher", [], device="cpu", memory={}))
    assert "GPU" not in shown
    shown = run_progress.facts(
        Progress("teacher", [], device="cpu", memory={"rss": 1, "gpu": None})
    )
    assert "no GPU" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min"), (None, "")],
)
def test_a_duration_is_said_as_a_person_says_it(seconds, text):
    assert run_progress.duration(seconds) == text


def test_a_moment_is_said_in_one_time_zone():
    assert run_progress.moment("2026-11-21T01:31:00+01:00") == "21 Nov 2026, 00:31 UTC"
    assert run_progress.moment(datetime(2026, 11, 2, 3, 4, tzinfo=UTC)) == "2 Nov 2026, 03:04 UTC"
    assert run_progress.moment(None) == "–"


def test_the_loss_has_a_mean_through_it_once_it_is_long():
    assert len(run_progress.loss_figure([(1, 0.5), (2, 0.4)]).data) == 1
    long = run_progress.loss_figure([(step, 1.0 if step % 2 else 0.0) for step in range(1, 60)])
    assert len(long.data) == 2
    assert all(0.4 <= value <= 0.6 for value in long.data[1].y[20:])


def test_the_log_begins_with_its_newest_line_and_is_cut():
    shown = run_progress.log([f"line {number}" for number in range(1000)]).splitlines()
    assert shown[0] == "line 999"
    assert len(shown) == run_progress.LOG_LINES
    assert run_progress.log(["a", "teacher:  56%|█████▌    | 10/18 [00:02<00:04]", "b"]) == "b\na"


# ---------------------------------------------------------------- a recipe


@pytest.fixture
def recipe():
    return Recipe(name="quick")


def test_what_is_typed_becomes_the_recipe(recipe):
    values = {"data.training_patients": 300, "teacher.epochs": 0.5, "seed": 7}
    asked = recipe_form.changed(recipe, values)
    assert asked.data.training_patients == 300
    assert asked.teacher.epochs == 0.5
    assert asked.seed == 7
    assert asked.student == recipe.student


def test_to_train_all_layers_leaves_none_to_remember():
    quick = Recipe(name="quick", teacher=TeacherRecipe(adapted_layers=4, cache_lower_layers=True))
    asked = recipe_form.changed(quick, {recipe_form.LAYERS: None})
    assert asked.teacher.adapted_layers is None
    assert not asked.teacher.cache_lower_layers


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("teacher.learning_rate", 0, "Teacher: learning rate: should be greater than 0"),
        ("teacher.epochs", -1.0, "Teacher: passes over the records: should be greater than 0"),
        ("prompt.max_tokens", 8, "Longest prompt, in tokens: should be greater than or equal to"),
        ("teacher.lora_rank", None, "Teacher: LoRA rank: fill it in"),
        ("data.training_patients", 0, "Training patients: should be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_field(recipe, path, value, said):
    with pytest.raises(WorkbenchError) as refused:
        recipe_form.changed(recipe, {path: value})
    assert str(refused.value).startswith(said)


def test_a_base_model_is_a_folder_on_the_server_or_the_shipped_one(recipe, tiny_base, tmp_path):
    path = recipe_form.BASE_MODEL
    assert recipe_form.changed(recipe, {path: str(tiny_base)}).teacher.base_model == str(tiny_base)
    assert recipe_form.changed(recipe, {path: "default"}) == recipe
    for name in ("somebody/model", str(tmp_path), ""):
        with pytest.raises(WorkbenchError, match="Base model"):
            recipe_form.changed(recipe, {path: name})


def test_every_field_is_one_of_a_recipe_and_explains_itself(recipe):
    values = recipe_form.summary(recipe.model_dump(mode="json"))
    assert values["Training patients"] == "all"
    assert set(values) == {"Base model", *(field.label for field in recipe_form.FIELDS)}
    assert all(len(field.help) > 60 for field in recipe_form.FIELDS)
    assert recipe_form.summary({"seed": 3}) == {"Seed of chance": 3}


# ---------------------------------------------------------------- a comparison


def line(model, metric, group, difference, verdict, guarded=True):
    return {
        "model": model,
        "metric": metric,
        "group": group,
        "candidate": 0.5 + difference,
        "champion": 0.5,
        "difference": difference,
        "low": difference - 0.01,
        "high": difference + 0.01,
        "verdict": verdict,
        "sentence": f"{verdict} for {group}",
        "guarded": guarded,
    }


def report(worse=(), better=()):
    lines = []
    for model in ("teacher", "student"):
        for metric in comparison.METRICS:
            for group in ("overall", "first_visit", "returning"):
                name = (model, metric, group)
                verdict = "worse" if name in worse else "better" if name in better else None
                value = {"worse": -0.1, "better": 0.1}.get(verdict, 0.0)
                lines.append(
                    line(
                        *name,
                        value,
                        verdict or "no clear difference",
                        metric in ("prauc", "jaccard"),
                    )
                )
    titles = {
        "overall": "Overall",
        "first_visit": "First visits",
        "returning": "Returning patients",
    }
    return {
        "lines": lines,
        "counts": {
            group: {"title": title, "visits": 1234, "patients": 30}
            for group, title in titles.items()
        },
        "settings": {"confidence": 0.95, "resamples": 1000},
        "notes": [],
    }


def test_the_headline_counts_guarded_lines_alone():
    assert comparison.headline(report())[1] == "no clear difference"
    better = report(better=[("teacher", "prauc", "overall")])
    assert comparison.headline(better)[0] == "Better on 1 of 12 guarded measures, worse on none"
    both = report([("student", "jaccard", "returning")], [("teacher", "prauc", "overall")])
    assert comparison.headline(both)[0] == "Clearly worse on 1 of 12 guarded measures"
    unguarded = report(worse=[("teacher", CALIBRATION_ERROR, "overall")])
    assert comparison.headline(unguarded)[1] == "no clear difference"


def test_the_guarded_table_has_every_guarded_line_with_its_verdict():
    shown = comparison.guarded_table(report(worse=[("teacher", "prauc", "first_visit")]))
    assert shown.count("<td") == 12
    assert shown.count('class="worse"') == 1
    assert "▼ −0.100" in shown and "[−0.110, −0.090]" in shown
    assert "Returning patients" in shown and "1,234 visits" in shown


def test_chart_and_table_say_the_same_in_the_same_order():
    made = report(better=[("teacher", "prauc", "returning")])
    lines = [one for one in made["lines"] if one["model"] == "teacher"][:3]
    table = comparison.frame(lines, made["counts"])
    chart = comparison.figure(lines, made["counts"], "prauc")
    assert table["Group"].tolist() == [text.strip() for text in chart.layout.yaxis.ticktext]
    assert table["Verdict"].tolist()[2] == "better"
    assert table["Difference"].tolist()[2] == "+0.100 [+0.090, +0.110]"
    dots = {name: list(found.y) for found in chart.data for name in [found.name]}
    assert dots == {"no clear difference": [0, 1], "better": [2]}
    low, high = chart.layout.xaxis.range
    assert low == -high and high > 0.11


def test_of_the_calibration_error_less_is_better():
    def words(metric):
        chart = comparison.figure(report()["lines"][:3], report()["counts"], metric)
        return [note.text for note in chart.layout.annotations]

    assert words("prauc") == ["◂ worse", "better ▸"]
    assert words(CALIBRATION_ERROR) == ["◂ better", "worse ▸"]


def test_a_group_that_was_not_measured_stays_in_the_table():
    gone = line("teacher", "prauc", "returning", 0.0, "no clear difference")
    gone |= dict.fromkeys(("candidate", "champion", "difference", "low", "high"))
    table = comparison.frame([gone], report()["counts"])
    assert table["Verdict"].tolist() == ["not measured"]
    assert table["Candidate"].tolist() == ["–"]
    made = report()
    nothing = dict.fromkeys(("candidate", "champion", "difference", "low", "high"))
    made["lines"] = [one | nothing if one["group"] == "returning" else one for one in made["lines"]]
    assert comparison.guarded_table(made).count("not measured") == 4
    assert not comparison.figure([gone], report()["counts"], "prauc").data


def test_a_device_is_called_by_what_it_is():
    assert run_history.device("cpu") == "processor"
    assert run_history.device("cuda:1") == "graphics card 1"
