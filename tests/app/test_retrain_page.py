"""The page "Retrain": who sees it, what is started, watched and decided there, and by whom."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import streamlit as st

from app import identity, retraining
from app.widgets import decision
from engine.audit import Audit
from engine.config import DataRecipe, Recipe
from engine.errors import WorkbenchError
from engine.evaluation import comparison
from engine.installation import Installation
from engine.jobs.client import Client, Run
from engine.jobs.devices import devices
from engine.jobs.presence import LivingWorker
from engine.jobs.progress import Progress
from engine.jobs.retraining import STAGES, Request
from engine.permissions import SYSTEM, Actor, NotAllowed
from engine.records.cohort import Cohort
from engine.records.vocabulary import Vocabulary
from engine.registry.pair import MANIFEST, seal
from engine.registry.versions import Registry
from tests.visits import make_visit

PAGE = "views/retrain.py"
CHAMPION, CANDIDATE = "shipped-20260101-00000000", "tiny-20260202-11111111"
RUN_ID = "20261121-003000-ab12"
PASSWORD = "correct horse battery"
WORKER = LivingWorker("ward-cpu", "cpu", "2 processor cores", 25_000_000_000, 18_000_000_000, 0.0)
WORSE = "Teacher, PRAUC: worse for first visits: −0.012 [−0.020, −0.004]"
RECIPE = Recipe(name="quick", data=DataRecipe(training_patients=40))
REASON = "the new formulary matters more"


@pytest.fixture
def installation(tiny_cohort, tiny_pair, tmp_path, monkeypatch):
    """An installation whose shipped champion is the small pair."""
    pretrained = tmp_path / "pretrained"
    copy_pair(tiny_pair, pretrained / CHAMPION, CHAMPION)
    (pretrained / "aliases.json").write_text(json.dumps({"champion": CHAMPION}))
    monkeypatch.setenv("WORKBENCH_COHORT", str(tiny_cohort))
    monkeypatch.setenv("WORKBENCH_MODELS", str(pretrained / CHAMPION))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("WORKBENCH_JOBS_URL", raising=False)
    monkeypatch.setattr(
        retraining, "registry", lambda: Registry(Installation.current(), pretrained)
    )
    st.cache_data.clear()
    st.cache_resource.clear()
    return Installation.current()


@pytest.fixture
def registry(installation):
    return retraining.registry()


@pytest.fixture
def candidate(registry, tiny_pair, tmp_path):
    """Return a function that registers a candidate, worse on the lines it is given."""

    def make(*worse_on):
        pair = copy_pair(tiny_pair, tmp_path / "new" / "pair", CANDIDATE, temperature=1.7)
        found = a_comparison() | {"worse_on": list(worse_on)}
        return registry.register(
            SYSTEM, pair, {"run_id": RUN_ID, "requested_by": "bert", "comparison": found}
        )

    return make


@pytest.fixture
def queue(installation, monkeypatch):
    """A client that stands in for the queue: it holds the runs that a test puts there."""
    found = StandIn(installation)
    monkeypatch.setattr(retraining, "client", lambda: found)
    return found


class StandIn:
    """What the page asks of `engine.jobs.client.Client`, without a database behind it."""

    def __init__(self, installation):
        self.installation = installation
        self.known: list[Run] = []
        self.living = [WORKER]
        self.shown = Progress(None, [])
        self.done: list[tuple] = []

    def runs(self):
        return list(self.known)

    def run(self, run_id):
        return next(run for run in self.known if run.run_id == run_id)

    def progress(self, run_id):
        return self.shown

    def workers(self):
        return self.living

    def devices(self):
        return devices()

    def submit(self, actor, request):
        self.done.append(("submit", actor.name, request))
        self.known.insert(0, a_run("queued", request=request, position=1))
        return RUN_ID

    def cancel(self, actor, run_id):
        self.done.append(("cancel", actor.name, run_id))
        self.known = [replace(run, status="cancelled") for run in self.known]

    def resume(self, actor, run_id):
        self.done.append(("resume", actor.name, run_id))
        self.known = [replace(run, status="queued", position=1) for run in self.known]


def copy_pair(pair, folder, version, temperature=None):
    shutil.copytree(pair, folder)
    if temperature is not None:
        stored = json.loads((folder / "calibration.json").read_text())
        stored["student"]["temperature"] = temperature
        (folder / "calibration.json").write_text(json.dumps(stored))
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["files"]
    seal(folder, {**manifest, "version": version})
    return folder


def a_run(status, **changes):
    facts = {
        "run_id": RUN_ID,
        "number": 1,
        "status": status,
        "position": None,
        "requested_by": "bert",
        "submitted_at": datetime(2026, 11, 21, 0, 30, tzinfo=UTC),
        "started_at": datetime(2026, 11, 21, 0, 31, tzinfo=UTC),
        "finished_at": datetime(2026, 11, 21, 0, 37, tzinfo=UTC),
        "request": Request("/records/ward-7", RECIPE.model_dump(mode="json")),
        "attempt": 1,
        "worker": "ward-cpu",
        "stage": "teacher",
        "reason": None,
        "version": None,
    }
    return Run(**{**facts, **changes})


def going_on(stage="teacher", **changes):
    place = STAGES.index(stage)
    chain = [
        (name, "done" if at < place else "running" if at == place else "waiting", 5.0)
        for at, name in enumerate(STAGES)
    ]
    return Progress(stage, chain, **changes)


def a_comparison(candidate=CANDIDATE, champion=CHAMPION):
    """A report as `engine.evaluation.comparison` makes it, of four visits of two patients."""
    vocabulary = Vocabulary((), (), ("A02B", "B01A"), {})
    visits = [make_visit(patient_id=str(n), medications=("A02B",)) for n in range(12)]
    right = np.tile([2.0, -2.0], (12, 1))

    def said(logits):
        one = comparison.Prediction(vocabulary, logits, 1 / (1 + np.exp(-logits)), logits > 0)
        return {"teacher": one, "student": one}

    report = comparison.compare(visits, said(-right), said(right), resamples=50)
    return report | {"candidate": {"version": candidate}, "champion": {"version": champion}}


@pytest.fixture
def open_page(signed_in):
    """Return a function that opens the page as somebody, with a run or version opened on it."""

    def open_(role="administrator", run=None, version=None):
        app = signed_in(role).run()
        if run is not None:
            app.session_state[retraining.OPENED_RUN] = run
        if version is not None:
            app.session_state[retraining.OPENED_VERSION] = version
        return app.switch_page(PAGE).run()

    return open_


def page_text(app):
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.html, app.code, app.error)
    kinds += (app.info, app.warning, app.success)
    return "\n".join(
        str(getattr(e, "value", None) or getattr(e, "body", "")) for k in kinds for e in k
    )


def press(app, label):
    return next(button for button in app.button if button.label == label).click().run()


def labels(app):
    return [button.label for button in app.button]


def audited(installation):
    audit = Audit(installation.database, installation.audit_key)
    return [row.action for row in audit.rows(SYSTEM, limit=100)]


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize("role", ["clinician", "auditor"])
def test_nobody_but_an_administrator_sees_the_page(queue, open_page, role):
    queue.known = [a_run("running")]
    app = open_page(role)
    assert not app.exception
    text = page_text(app)
    assert "This page is not for your role" in text
    assert "Start training" not in labels(app)
    assert "ward-7" not in text and RUN_ID not in text


@pytest.mark.parametrize(
    "actor", [None, Actor("clara", "clinician"), Actor("otto", "auditor")], ids=str
)
@pytest.mark.parametrize(
    "act",
    [
        lambda who, registry, client, cohort: client.submit(who, Request(str(cohort), {})),
        lambda who, registry, client, cohort: client.cancel(who, RUN_ID),
        lambda who, registry, client, cohort: client.resume(who, RUN_ID),
        lambda who, registry, client, cohort: registry.promote(who, CANDIDATE, CHAMPION, REASON),
        lambda who, registry, client, cohort: registry.reject(who, CANDIDATE, REASON),
        lambda who, registry, client, cohort: registry.roll_back(who, CHAMPION, REASON),
    ],
    ids=["submit", "cancel", "resume", "promote", "reject", "roll back"],
)
def test_the_engine_refuses_every_action_to_anybody_else(
    registry, candidate, tiny_cohort, actor, act
):
    candidate()
    with pytest.raises(NotAllowed):
        act(actor, registry, Client(registry.installation), tiny_cohort)
    assert registry.champion().version == CHAMPION
    assert registry.version(CANDIDATE).status == "candidate"


def test_who_is_no_longer_an_administrator_cannot_press_what_is_on_the_screen(
    queue, registry, candidate, open_page
):
    candidate()
    app = open_page(version=CANDIDATE)
    everyone = identity.accounts()
    everyone.sign_in_external("somebody-else", "administrator")  # one has to stay
    everyone.change_role(SYSTEM, "test-administrator", "clinician")
    press(app, f"Put {CANDIDATE} in use")
    assert registry.champion().version == CHAMPION


# ---------------------------------------------------------------- the overview


def test_an_empty_page_says_what_is_in_use_and_how_to_start_a_worker(queue, open_page):
    queue.living = []
    app = open_page()
    assert not app.exception and not app.error
    text = page_text(app)
    assert CHAMPION in text
    assert "No worker is running" in text
    assert "-m engine worker" in text
    assert "Nothing has been trained here yet" in text
    assert "Start training" in labels(app)
    assert not any(label.startswith("Roll back") for label in labels(app))


def test_an_app_that_was_told_to_open_another_pair_says_so(
    queue, open_page, tiny_pair, monkeypatch
):
    assert "WORKBENCH_MODELS" not in page_text(open_page())  # it names the champion
    monkeypatch.setenv("WORKBENCH_MODELS", str(tiny_pair))
    assert "WORKBENCH_MODELS" in page_text(open_page())


def test_workers_are_shown_with_their_device_and_memory(queue, open_page):
    queue.known = [a_run("running")]
    queue.shown = going_on(step=42, steps=120, eta_seconds=183.0)
    text = page_text(open_page())
    assert "2 processor cores" in text and "18.0 GB of 25.0 GB free" in text
    assert "at work" in text


def test_the_queue_shows_places_and_who_asked(queue, open_page):
    queue.known = [
        a_run("queued", run_id="20261121-003200-ab14", position=2, requested_by="carl"),
        a_run("queued", run_id="20261121-003100-ab13", position=1),
    ]
    text = page_text(open_page())
    assert "Next in the queue for a processor." in text
    assert "Number 2 in the queue for a processor." in text
    assert "carl" in text and "bert" in text


def test_past_runs_say_who_when_with_what_and_what_came_of_it(queue, candidate, open_page):
    candidate()
    queue.known = [
        a_run("finished", version=CANDIDATE),
        a_run("failed", run_id="20261120-003000-ab11", reason="teacher: out of memory"),
    ]
    table = next(t.value for t in open_page().dataframe if "Parameters" in t.value.columns)
    first, second = table.to_dict("records")
    assert first["Started"] == "21 Nov 2026, 00:30 UTC"
    assert (first["By"], first["Took"]) == ("bert", "6 min 00 s")
    assert "40 patients · 1 pass · all layers" in first["Parameters"]
    assert first["Result"] == f"{CANDIDATE}: to decide"
    assert (second["Status"], second["Result"]) == ("failed", "teacher: out of memory")


def test_a_candidate_without_a_decision_is_pointed_at(queue, candidate, open_page):
    candidate()
    queue.known = [a_run("finished", version=CANDIDATE)]
    app = press(open_page(), "See how it compares")
    assert app.session_state[retraining.OPENED_RUN] == RUN_ID
    assert "This run left no comparison" in page_text(app)


def test_a_queue_that_does_not_answer_is_one_line(queue, open_page):
    def broken():
        raise WorkbenchError("postgresql://jobs: the database of the queue does not answer")

    queue.runs = broken
    app = open_page()
    assert not app.exception
    assert "does not answer" in page_text(app)


# ---------------------------------------------------------------- to start


def field(app, label):
    return next(each for each in app.number_input if each.label == label)


def choose_quick(app):
    return app.selectbox(key="retrain-recipe").set_value("quick").run()


def test_start_queues_the_recipe_as_it_was_changed(installation, tiny_cohort, open_page):
    app = choose_quick(open_page())
    field(app, "Training patients").set_value(40)
    field(app, "Teacher: passes over the records").set_value(0.5)
    app = press(app, "Start training")
    assert not app.exception and not app.error
    (run,) = Client(installation).runs()
    assert run.status == "queued" and run.requested_by == "test-administrator"
    assert run.request.recipe["data"]["training_patients"] == 40
    assert run.request.recipe["teacher"]["epochs"] == 0.5
    assert run.request.recipe["student"]["epochs"] == 15
    assert run.request.cohort == str(tiny_cohort.resolve())
    assert "retraining submitted" in audited(installation)
    text = page_text(app)  # the run is opened
    assert run.run_id in text
    assert "Next in the queue" in text and "-m engine worker" in text


def test_a_field_that_cannot_be_is_named_and_nothing_is_queued(queue, open_page):
    app = choose_quick(open_page())
    field(app, "Teacher: learning rate").set_value(0.0)
    app = press(app, "Start training")
    assert "learning rate" in app.error[0].value
    assert not queue.done


def test_a_base_model_the_server_does_not_have_is_refused(queue, open_page, monkeypatch):
    monkeypatch.setattr(retraining, "base_models", lambda: ["default", "somebody/model"])
    app = choose_quick(open_page())
    next(box for box in app.selectbox if box.label == "Base model").set_value("somebody/model")
    app = press(app, "Start training")
    assert "Base model" in app.error[0].value
    assert not queue.done


def test_pressing_start_twice_makes_one_run(queue, tiny_cohort, open_page):
    app = press(choose_quick(open_page()), "Start training")
    assert [done[0] for done in queue.done] == ["submit"]
    del app.session_state[retraining.OPENED_RUN]
    app = press(choose_quick(app.run()), "Start training")
    assert len(queue.done) == 1
    assert "has started this very training already" in app.error[0].value


def test_another_recipe_fills_in_its_own_values(queue, open_page):
    app = choose_quick(open_page())
    assert field(app, "Training patients").value == 300
    app = app.selectbox(key="retrain-recipe").set_value("full").run()
    assert field(app, "Training patients").value is None


def test_the_champions_recipe_is_offered_first_beside_the_shipped_one_of_its_name(
    installation, registry
):
    found = retraining.recipes()
    assert list(found)[0] == "tiny, as the one in use"
    assert {"quick", "full"} <= set(found)
    folder = registry.champion().folder
    changed = (folder / "recipe.yaml").read_text().replace("name: tiny", "name: quick")
    (folder / "recipe.yaml").write_text(changed)
    found = retraining.recipes()
    assert found["quick, as the one in use"] != found["quick"]


def test_the_page_offers_what_it_knows_of_the_time_it_takes(queue, open_page):
    assert "not known yet" in page_text(choose_quick(open_page()))
    queue.known = [a_run("finished")]
    assert "took 6 min 00 s on processor" in page_text(choose_quick(open_page()))


# ---------------------------------------------------------------- to watch


def test_a_running_run_shows_stage_step_time_memory_curves_and_log(queue, open_page):
    queue.known = [a_run("running")]
    queue.shown = going_on(
        step=42,
        steps=120,
        eta_seconds=183.0,
        loss_curve=[(1, 0.7), (2, 0.6)],
        validation=[(30, 0.3)],
        memory={"rss": 2_100_000_000, "gpu": 3_000_000_000},
        log_tail=["teacher: 30 training visits"],
    )
    app = open_page(run=RUN_ID)
    assert not app.exception and not app.error
    text = page_text(app)
    assert 'class="running"' in text
    assert "2.1 GB" in text and "3.0 GB" in text
    assert "teacher: 30 training visits" in text
    assert len(app.get("plotly_chart")) == 2
    shown = app.get("progress")[0].proto
    assert shown.value == 35
    assert shown.text == "Teacher: step 42 of 120, about 3 min 03 s left"


def test_stopping_a_run_is_asked_back(queue, open_page):
    queue.known = [a_run("running")]
    queue.shown = going_on()
    app = press(open_page(run=RUN_ID), "Cancel this run")
    assert not queue.done
    app = press(app, "Let it run")
    assert not queue.done and "Cancel this run" in labels(app)
    app = press(press(app, "Cancel this run"), "Yes, stop it")
    assert queue.done == [("cancel", "test-administrator", RUN_ID)]
    assert "was cancelled" in page_text(app)
    assert "Cancel this run" not in labels(app)


@pytest.mark.parametrize("status", ["interrupted", "cancelled", "failed"])
def test_what_has_stopped_can_be_resumed(queue, open_page, status):
    queue.known = [a_run(status, reason="teacher: out of memory")]
    queue.shown = going_on()
    app = open_page(run=RUN_ID)
    assert 'class="stopped"' in page_text(app)
    app = press(app, "Resume")
    assert queue.done == [("resume", "test-administrator", RUN_ID)]


def test_a_failed_run_says_why(queue, open_page):
    queue.known = [a_run("failed", reason="teacher: out of memory; lower batch_size")]
    queue.shown = going_on()
    app = open_page(run=RUN_ID)
    assert "out of memory; lower batch" in app.error[0].value.replace("\\", "")


def test_somebody_elses_quicker_click_is_said_and_changes_nothing(queue, open_page):
    def too_late(actor, run_id):
        raise WorkbenchError("run: somebody else has just changed it; look at it again")

    queue.known = [a_run("failed")]
    queue.shown = going_on()
    queue.resume = too_late
    app = press(open_page(run=RUN_ID), "Resume")
    assert any("somebody else has just changed it" in error.value for error in app.error)


# ---------------------------------------------------------------- to decide


@pytest.fixture
def finished(queue, installation, candidate):
    """Return a function that puts a finished run on the page, and its comparison in its folder."""

    def make(*worse_on):
        queue.known = [a_run("finished", version=candidate(*worse_on), stage=None)]
        queue.shown = going_on("register")
        folder = installation.runs / RUN_ID
        folder.mkdir(parents=True)
        (folder / "comparison.json").write_text(json.dumps(a_comparison()))

    return make


def test_the_result_shows_the_candidate_beside_the_champion_in_words(finished, open_page):
    finished(WORSE)
    app = open_page(run=RUN_ID)
    assert not app.exception and not app.error
    text = page_text(app)
    assert "Clearly worse on 8 of 12 guarded measures" in text
    assert "worse" in text and "not measured" in text  # nobody returns in these visits
    table = next(t.value for t in app.dataframe if "Verdict" in t.value.columns)
    assert table["Group"].tolist()[:2] == ["Overall", "First visits"]
    assert table["Verdict"].tolist()[0] == "worse"
    app = app.segmented_control(key="comparison-metric").set_value("jaccard").run()
    table = next(t.value for t in app.dataframe if "Verdict" in t.value.columns)
    assert table["Candidate"].tolist()[0] == "0.000"
    assert "by chance alone" in page_text(app)


def test_promotion_puts_the_candidate_in_use(finished, registry, installation, open_page):
    finished()
    app = press(open_page(run=RUN_ID), f"Put {CANDIDATE} in use")
    assert not app.exception and not app.error
    assert registry.champion().version == CANDIDATE
    assert f"{CANDIDATE} is in use now" in page_text(app).replace("\\", "")
    assert "version promoted" in audited(installation)


def test_worse_where_it_matters_needs_a_written_reason(finished, registry, open_page):
    finished(WORSE)
    app = open_page(run=RUN_ID)
    assert "worse for first visits" in app.warning[0].value
    app = press(app, f"Put {CANDIDATE} in use")
    assert registry.champion().version == CHAMPION
    assert "written reason" in app.error[0].value
    app.text_area(key=decision.REASON).set_value(REASON)
    app = press(app, f"Put {CANDIDATE} in use")
    assert registry.version(CANDIDATE).reason == REASON
    assert registry.champion().version == CANDIDATE


def test_promotion_asks_for_the_password_again_and_forgets_it(
    finished, registry, signed_in, installation
):
    finished()
    identity.accounts().add(SYSTEM, "anna", "administrator", PASSWORD)
    app = signed_in("administrator")
    app.session_state[identity.TOKEN] = identity.accounts().sign_in("anna", PASSWORD).token
    app = app.run()
    app.session_state[retraining.OPENED_RUN] = RUN_ID
    app = app.switch_page(PAGE).run()
    for wrong in ("", "something else"):
        app.text_input(key=decision.PASSWORD).set_value(wrong)
        app = press(app, f"Put {CANDIDATE} in use")
        assert registry.champion().version == CHAMPION
        assert "password" in app.error[0].value
    app.text_input(key=decision.PASSWORD).set_value(PASSWORD)
    app = press(app, f"Put {CANDIDATE} in use")
    assert registry.champion().version == CANDIDATE
    assert decision.PASSWORD not in app.session_state or not app.session_state[decision.PASSWORD]


def test_another_administrator_who_was_first_is_named_kindly(
    finished, registry, tiny_pair, tmp_path, open_page
):
    finished()
    app = open_page(run=RUN_ID)
    other = copy_pair(tiny_pair, tmp_path / "other" / "pair", "other-20260303-22222222", 2.5)
    registry.register(SYSTEM, other, {})
    registry.promote(SYSTEM, "other-20260303-22222222", CHAMPION, "a reason of ten")
    app = press(app, f"Put {CANDIDATE} in use")
    assert registry.champion().version == "other-20260303-22222222"
    assert not app.error
    assert "decide anew" in page_text(app)
    assert any("was compared with" in warning.value for warning in app.warning)


def test_a_rejected_candidate_keeps_its_reason_and_can_be_taken_back_with_one(
    finished, registry, open_page
):
    finished()
    app = open_page(run=RUN_ID)
    app = app.segmented_control(key="decision-choice").set_value("reject").run()
    app.text_area(key=decision.REASON).set_value("too few patients")
    app = press(app, "Reject this candidate")
    assert registry.version(CANDIDATE).status == "rejected"
    assert "too few patients" in page_text(app)
    app = press(app, f"Put {CANDIDATE} in use")
    assert registry.champion().version == CHAMPION
    assert "written reason" in app.error[0].value


def test_roll_back_puts_the_version_before_in_use_again(queue, registry, candidate, open_page):
    candidate()
    registry.promote(SYSTEM, CANDIDATE, CHAMPION)
    app = press(open_page(), f"Roll back to {CHAMPION}")
    assert registry.champion().version == CANDIDATE  # asked back first
    app = press(app, "Leave it")
    assert registry.champion().version == CANDIDATE
    app = press(app, f"Roll back to {CHAMPION}")
    app.text_area(key=decision.REASON).set_value("alarms on the wards")
    app = press(app, "Roll back")
    assert registry.champion().version == CHAMPION
    assert registry.version(CHAMPION).reason == "alarms on the wards"


def test_a_damaged_candidate_cannot_be_promoted(finished, registry, open_page):
    finished()
    (registry.version(CANDIDATE).folder / "student.safetensors").write_bytes(b"")
    app = open_page(run=RUN_ID)
    if f"Put {CANDIDATE} in use" in labels(app):
        app = press(app, f"Put {CANDIDATE} in use")
    assert registry.champion().version == CHAMPION
    assert any("student" in error.value for error in app.error)


def test_all_versions_are_listed_with_who_had_them_trained(queue, candidate, open_page):
    candidate()
    table = next(t.value for t in open_page().dataframe if "Version" in t.value.columns)
    assert table["Version"].tolist() == [CHAMPION, CANDIDATE]
    assert table["Status"].tolist() == ["in use", "to decide"]
    assert table["By"].tolist() == ["came with the workbench", "bert"]


def test_an_imported_version_is_opened_from_the_list(queue, candidate, open_page):
    candidate(WORSE)
    app = open_page(version=CANDIDATE)
    assert not app.exception
    assert CANDIDATE in page_text(app)
    assert f"Put {CANDIDATE} in use" in labels(app)
    app = press(app, "Retrain")
    assert app.title[0].value == "Retrain"


def test_the_cohorts_offered_are_those_that_are_whole(installation, tiny_cohort, tmp_path):
    shutil.copytree(tiny_cohort, installation.folder / "second")
    (installation.folder / "half").mkdir()
    names = [folder.name for folder in retraining.cohorts()]
    assert names[0] == tiny_cohort.name and "second" in names and "half" not in names
    found = retraining.open_cohort(installation.folder / "second")
    assert found.fingerprint == Cohort.open(tiny_cohort).fingerprint
