"""Retrain: start a training on new records, watch it, and decide what becomes of its result."""

import streamlit as st

from app import identity, retraining, session, style
from app.widgets import (
    comparison,
    decision,
    notice,
    retrain_start,
    run_history,
    run_progress,
    versions,
)
from engine.errors import WorkbenchError
from engine.jobs.client import RESUMABLE, UNDER_WAY, Client, Run
from engine.permissions import Actor

LOOK_EVERY = 2  # seconds between two looks at what runs
CONFIRM = "retrain-cancel-asked"
LOG_HEIGHT = 215  # pixels


def show() -> None:
    """Draw the page: the overview, or what was opened from it."""
    actor = identity.guard("retrain")
    client = retraining.client()
    runs = client.runs()
    opened = st.session_state.get(retraining.OPENED_RUN)
    run = next((run for run in runs if run.run_id == opened), None)
    version = st.session_state.get(retraining.OPENED_VERSION)
    if run is not None:
        _draw_run(actor, client, run)
    elif version is not None:
        _draw_version(version)
    else:
        _draw_overview(actor, client, runs)


# ---------------------------------------------------------------- overview


def _draw_overview(actor: Actor, client: Client, runs: list[Run]) -> None:
    st.title("Retrain", anchor=False)
    st.caption(
        "Train a new pair of models on this hospital's records. Nothing changes for clinicians "
        "until somebody has looked at the comparison and promotes the candidate."
    )
    workers = client.workers()
    registry = retraining.registry()
    registry.collect()  # what workers on other machines have left
    known = registry.versions()
    with st.grid(2, min_column_width=340):
        versions.draw_in_use(registry, known)
        retrain_start.draw_workers(workers, client.devices(), runs)
    _draw_undecided(runs, known)
    if any(run.status in UNDER_WAY for run in runs):
        _watch_queue(client, _fingerprint(runs))
    retrain_start.draw(actor, client, runs, workers)
    run_history.draw([run for run in runs if run.status not in UNDER_WAY], known)
    versions.draw_all(known)


def _draw_undecided(runs: list[Run], known: list) -> None:
    """Point at candidates that nobody has decided on yet."""
    waiting = {version.version for version in known if version.status == "candidate"}
    for run in runs:
        if run.version not in waiting:
            continue
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            st.html(
                f"{style.badge('to decide', 'warn')} <b>{style.text(run.version)}</b> "
                f'<span class="wb-muted">trained by {style.text(run.requested_by)}, '
                f"{run_progress.moment(run.finished_at)}</span>",
                width="stretch",
            )
            st.button(
                "See how it compares",
                key=f"decide-{run.run_id}",
                type="primary",
                on_click=_open_run,
                args=(run.run_id,),
            )


@st.fragment(run_every=LOOK_EVERY)
def _watch_queue(client: Client, seen: tuple) -> None:
    """Draw the runs under way, anew every two seconds; the whole page when one has ended."""
    with session.faults_shown():
        runs = client.runs()
        if _fingerprint(runs) != seen:
            st.rerun()
        st.subheader("Under way", anchor=False)
        for run in reversed([run for run in runs if run.status in UNDER_WAY]):
            _draw_under_way(client, run)


def _draw_under_way(client: Client, run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        st.html(
            f"{run_progress.status_badge(run.status)} <b>{style.text(run.request.recipe['name'])}"
            f'</b> <span class="wb-muted wb-small">{style.text(run.requested_by)}, '
            f"{run_progress.moment(run.submitted_at)}</span>",
            width=330,
        )
        if run.status == "running":
            progress = client.progress(run.run_id)
            st.progress(run_progress.share_done(progress), text=run_progress.words(progress))
        else:
            st.html(f'<span class="wb-muted">{style.text(_waiting(run))}</span>', width="stretch")
        st.button("Open", key=f"open-{run.run_id}", on_click=_open_run, args=(run.run_id,))


def _waiting(run: Run) -> str:
    if run.status == "interrupted":
        return f"Interrupted: {run.reason or 'its worker has ended'}. It goes on with a new worker."
    place = "Next" if run.position == 1 else f"Number {run.position}"
    return f"{place} in the queue for a {run_history.device(run.request.device)}."


# ---------------------------------------------------------------- one run


def _draw_run(actor: Actor, client: Client, run: Run) -> None:
    _draw_back()
    recipe = run.request.recipe
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(
            f'<div class="wb-header"><h1>{style.text(recipe["name"])}</h1>'
            f"{run_progress.status_badge(run.status)}"
            f'<span class="wb-muted">{style.text(run.run_id)}</span></div>',
            width="stretch",
        )
        _draw_buttons(actor, client, run)
    st.html(_facts_of(run))
    if run.status == "finished":
        _draw_result(run)
        with st.expander("How the training went"):
            _draw_progress(client, run)
    else:
        _draw_reason(run, bool(client.workers()))
        if run.status in UNDER_WAY:
            _watch_run(client, run.run_id, _fingerprint([run]))
        else:
            _draw_progress(client, run)
    with st.expander("Parameters"):
        st.html(run_history.parameters(recipe))


def _draw_back() -> None:
    st.button(
        "Retrain",
        key="back",
        type="tertiary",
        icon=":material/arrow_back:",
        on_click=_close,
    )


def _facts_of(run: Run) -> str:
    """Return who asked for a run, when, and on which records, as HTML."""
    facts = {
        "Asked for by": run.requested_by,
        "Asked for": run_progress.moment(run.submitted_at),
        "Records": run.request.cohort.rstrip("/").rpartition("/")[2],
        "Base model": str(run.request.recipe["teacher"]["base_model"]),
        "Device": run_history.device(run.request.device),
    }
    if run.started_at and run.finished_at:
        facts["Took"] = run_progress.duration((run.finished_at - run.started_at).total_seconds())
    lines = "".join(run_progress.fact(*pair) for pair in facts.items())
    return f'<div class="wb-facts">{lines}</div>'


def _draw_reason(run: Run, with_worker: bool) -> None:
    """Say why a run does not run."""
    if run.status == "failed":
        notice.error(run.reason or "no reason was kept; see the log", title="This run has failed")
    elif run.status == "interrupted":
        st.warning(
            f"{style.literal(_waiting(run))} Nothing is lost but the steps since the last "
            "checkpoint.",
            icon=":material/power_off:",
        )
    elif run.status == "queued":
        st.info(style.literal(_waiting(run)), icon=":material/hourglass_empty:")
    elif run.status == "cancelled":
        st.info("This run was cancelled. What is done stays done: it can be resumed.")
    if run.status in ("queued", "interrupted") and not with_worker:
        retrain_start.draw_no_worker()


def _draw_buttons(actor: Actor, client: Client, run: Run) -> None:
    """Draw what can be done with a run; to stop one is asked back."""
    if run.status in RESUMABLE and st.button(
        "Resume", type="primary", icon=":material/play_arrow:"
    ):
        _do(lambda: client.resume(actor, run.run_id))
    if run.status not in UNDER_WAY:
        return
    if st.session_state.get(CONFIRM) != run.run_id:
        st.button(
            "Cancel this run", icon=":material/stop_circle:", on_click=_ask, args=(run.run_id,)
        )
        return
    st.html("<b>Stop this run?</b> It can be resumed.", width="content")
    if st.button("Yes, stop it", type="primary"):
        _ask(None)
        _do(lambda: client.cancel(actor, run.run_id))
    st.button("Let it run", on_click=_ask, args=(None,))


def _do(change) -> None:
    """Change a run and draw the page anew; what another was quicker to do is said."""
    try:
        change()
    except WorkbenchError as error:
        notice.error(str(error), title="Nothing was changed")
        return
    st.rerun()


@st.fragment(run_every=LOOK_EVERY)
def _watch_run(client: Client, run_id: str, seen: tuple) -> None:
    """Draw a run as it goes, anew every two seconds; the whole page when its status changes."""
    with session.faults_shown():
        run = client.run(run_id)
        if _fingerprint([run]) != seen:
            st.rerun()
        _draw_progress(client, run)


def _draw_progress(client: Client, run: Run) -> None:
    progress = client.progress(run.run_id)
    st.html(run_progress.stages(progress.stages, run.status))
    if run.status == "running":
        st.progress(run_progress.share_done(progress), text=run_progress.words(progress))
        st.html(run_progress.facts(progress, _memory_there_is(client, run)))
    curves = [
        (name, figure(points))
        for name, points, figure in (
            ("loss", progress.loss_curve, run_progress.loss_figure),
            ("validation", progress.validation, run_progress.validation_figure),
        )
        if points
    ]
    with st.grid(len(curves) + 1, min_column_width=330):
        for name, figure in curves:
            st.plotly_chart(
                figure,
                key=f"run-{name}",
                config=style.CHART_CONFIG,
                theme=None,
                alt=f"{name} over the steps of this run",
            )
        _draw_log(run_progress.log(progress.log_tail))


def _draw_log(lines: str) -> None:
    if not lines:
        st.html('<div class="wb-muted wb-small">Nothing has been logged yet.</div>')
        return
    with st.container(gap="xsmall"):
        st.html('<div class="wb-muted wb-small">Log, the newest line first</div>')
        st.code(lines, language=None, height=LOG_HEIGHT, wrap_lines=True)


def _memory_there_is(client: Client, run: Run) -> dict[str, int | None]:
    """Return the bytes of the device that a run is on."""
    worker = next((worker for worker in client.workers() if worker.name == run.worker), None)
    if worker is None:
        return {}
    return {"rss" if worker.device == "cpu" else "gpu": worker.memory_total}


# ---------------------------------------------------------------- the result


def _draw_result(run: Run) -> None:
    registry = retraining.registry()
    report = retraining.comparison(run.run_id)
    if report is None:
        st.warning("This run left no comparison, so nothing is measured against the champion.")
    else:
        _draw_comparison(report)
    try:
        version = registry.version(run.version)
    except WorkbenchError as error:
        notice.error(str(error), title="The version of this run is not here")
        return
    decision.draw(registry, version)


def _draw_comparison(report: dict) -> None:
    words, verdict = comparison.headline(report)
    st.subheader(words, anchor=False)
    st.caption(
        f"Candidate {style.literal(report['candidate']['version'])} against "
        f"{style.literal(report['champion']['version'])}, which was in use when it was measured. "
        "Both answered the same test visits, of patients neither learnt from unless a note says "
        "so."
    )
    st.html(comparison.guarded_table(report))
    comparison.draw_groups(report, "comparison")
    for note in report["notes"]:
        st.caption(style.literal(note))


def _draw_version(name: str) -> None:
    """Draw a version, such as one that was imported."""
    _draw_back()
    registry = retraining.registry()
    version = registry.version(name)
    st.html(versions.header(version))
    if version.comparison is None:
        st.caption("It was not compared with the version in use: no run of this workbench made it.")
    else:
        _draw_comparison(version.comparison)
    decision.draw(registry, version)


# ---------------------------------------------------------------- moving about


def _open_run(run_id: str) -> None:
    st.session_state[retraining.OPENED_RUN] = run_id


def _ask(run_id: str | None) -> None:
    """Ask whether a run is to be stopped, or no longer."""
    st.session_state[CONFIRM] = run_id


def _close() -> None:
    for key in (retraining.OPENED_RUN, retraining.OPENED_VERSION, CONFIRM):
        st.session_state.pop(key, None)


def _fingerprint(runs: list[Run]) -> tuple:
    """Return what of the runs makes the page look different, beyond their progress."""
    return tuple((run.run_id, run.status, run.attempt, run.position) for run in runs)


if __name__ == "__main__":
    show()
