"""The start of a training: who would do it, and what of a recipe one may change."""

from pathlib import Path

import streamlit as st

from app import retraining, style
from app.widgets import notice, recipe_form, run_history, run_progress
from engine.errors import WorkbenchError
from engine.jobs.client import UNDER_WAY, Client, Run
from engine.jobs.devices import Device
from engine.jobs.presence import LivingWorker
from engine.jobs.retraining import Request
from engine.permissions import Actor
from engine.records.cohort import Cohort

HOW_TO_START_A_WORKER = ".venv/bin/python -m engine worker"


def draw_workers(workers: list[LivingWorker], devices: list[Device], runs: list[Run]) -> None:
    """Draw who trains, on what, and with how much memory; or how to start a worker."""
    with st.container(border=True, height="stretch"):
        if not workers:
            st.html('<div class="wb-muted wb-small">Worker</div>')
            draw_no_worker()
            st.html(f'<div class="wb-muted wb-small">{_free(devices)}</div>')
            return
        busy = {run.worker for run in runs if run.status == "running"}
        lines = "".join(
            f"<div>{_state(worker.name in busy)} <b>{style.text(worker.title)}</b> "
            f'<span class="wb-muted wb-small wb-number">'
            f"{run_progress.gigabytes(worker.memory_free)} of "
            f"{run_progress.gigabytes(worker.memory_total)} free · {style.text(worker.name)}"
            "</span></div>"
            for worker in workers
        )
        title = "Worker" if len(workers) == 1 else f"{len(workers)} workers"
        st.html(
            f'<div class="wb-muted wb-small">{title}</div>{lines}'
            '<div class="wb-muted wb-small">Each takes one training at a time; the others wait.'
            "</div>"
        )


def _state(at_work: bool) -> str:
    return style.badge("at work", "warn") if at_work else style.badge("ready", "strong")


def draw_no_worker() -> None:
    """Say how to start a worker."""
    st.html(
        '<b>No worker is running.</b> <span class="wb-muted">Trainings wait until one is there. '
        "<code>make run</code> starts one beside the app; on a server of its own it is started by"
        "</span>"
    )
    st.code(HOW_TO_START_A_WORKER, language="bash")


def draw(actor: Actor, client: Client, runs: list[Run], workers: list[LivingWorker]) -> None:
    """Draw the form of a new training; what is started is opened."""
    st.subheader("New training", anchor=False)
    folders, recipes = retraining.cohorts(), retraining.recipes()
    if not folders:
        notice.empty(
            "There are no records to train on.",
            ["Make a cohort first: .venv/bin/python -m engine ingest mimic-iv INPUT_DIR COHORT"],
        )
        return
    with st.grid(3, min_column_width=240):
        folder = st.selectbox(
            "Records",
            folders,
            format_func=_name,
            key="retrain-cohort",
            help="The cohort to learn from: the one this app has open, or one that lies beside it. "
            "A cohort is made from the hospital's tables by the command “ingest”.",
        )
        name = st.selectbox(
            "Start from the recipe",
            list(recipes),
            key="retrain-recipe",
            help="A recipe fixes everything about a training. “quick” shows in minutes whether "
            "everything works; it is not meant to be good. The fields below change it for this "
            "run alone.",
        )
        device = st.selectbox(
            "Train on",
            _kinds(workers, client.devices()),
            format_func=lambda kind: _kind(kind, workers),
            key="retrain-device",
            help="Any free worker with such a device takes the run. A graphics card (GPU) is ten "
            "to a hundred times as fast as a processor.",
        )
    try:
        cohort = retraining.open_cohort(folder)
    except WorkbenchError as error:
        notice.error(str(error), title="These records cannot be read")
        return
    _draw_form(actor, client, runs, cohort, recipes[name], device)


def _draw_form(
    actor: Actor, client: Client, runs: list[Run], cohort: Cohort, recipe, device: str
) -> None:
    available = sum(split == "train" for split in cohort.splits.values())
    with st.form("retrain-form", enter_to_submit=False):
        values = recipe_form.draw(recipe, available, retraining.base_models())
        with st.container(horizontal=True, vertical_alignment="center"):
            started = st.form_submit_button(
                "Start training", type="primary", icon=":material/model_training:"
            )
            st.html(
                f'<span class="wb-muted wb-small">{_expectation(runs, recipe.name, available)}'
                "</span>",
                width="stretch",
            )
    if not started:
        return
    try:
        asked = recipe_form.changed(recipe, values)
        request = Request(str(cohort.folder), asked.model_dump(mode="json"), device=device)
        twin = _under_way_already(runs, request)
        if twin is not None:
            raise WorkbenchError(
                f"{twin.requested_by} has started this very training already ({twin.run_id}); "
                "change something, such as the seed, to have another one."
            )
        run_id = client.submit(actor, request)
    except WorkbenchError as error:
        notice.error(str(error), title="The training was not started")
        return
    st.session_state[retraining.OPENED_RUN] = run_id
    st.rerun()


def _under_way_already(runs: list[Run], request: Request) -> Run | None:
    """Return a run of the same recipe on the same records: a second click is no second run."""

    def same(run: Run) -> bool:
        place = Path(run.request.cohort).resolve() == Path(request.cohort).resolve()
        return place and run.request.recipe == request.recipe

    return next((run for run in runs if run.status in UNDER_WAY and same(run)), None)


def _expectation(runs: list[Run], recipe: str, available: int) -> str:
    """Say what is known of how long this takes: how long it took the last time."""
    found = f"{available:,} training patients"
    last = next(
        (
            run
            for run in runs
            if run.status == "finished"
            and run.request.recipe["name"] == recipe
            and run.started_at
            and run.finished_at
        ),
        None,
    )
    if last is None:
        return f"{found}. How long this recipe takes here is not known yet."
    took = run_progress.duration((last.finished_at - last.started_at).total_seconds())
    return (
        f"{found}. The last run of “{style.text(recipe)}” took {took} on "
        f"{style.text(run_history.device(last.request.device))}."
    )


def _kinds(workers: list[LivingWorker], devices: list[Device]) -> list[str]:
    """Return the kinds of devices to choose from; those that a worker has come first."""
    served = [worker.device.partition(":")[0] for worker in workers]
    there = [device.kind for device in devices]
    return list(dict.fromkeys([*sorted(served, reverse=True), *there]))


def _kind(kind: str, workers: list[LivingWorker]) -> str:
    served = any(worker.device.partition(":")[0] == kind for worker in workers)
    return run_history.device(kind) + ("" if served else ", no worker yet")


def _name(folder: Path) -> str:
    return folder.name


def _free(devices: list[Device]) -> str:
    return "This machine: " + "; ".join(
        f"{style.text(device.title)}, {run_progress.gigabytes(device.memory_free)} of "
        f"{run_progress.gigabytes(device.memory_total)} free"
        for device in devices
    )
