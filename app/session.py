"""The handles of a session: cohort, patient index and models, opened once and shared by pages."""

import logging
import os
import traceback
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path

import streamlit as st

from app import patient_terms
from app.models import Following, Models, key_of
from app.widgets import notice
from engine import store
from engine.errors import WorkbenchError
from engine.installation import Installation
from engine.patient_index import PatientIndex
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.registry import aliases
from engine.terminology.rxnorm import DrugMap

PROJECT = Path(__file__).resolve().parent.parent
logger = logging.getLogger("workbench.app")


def data_folder() -> Path:
    """Return the one folder this installation writes to."""
    return Path(os.environ.get("WORKBENCH_DATA") or "data")


def cohort_folder() -> Path:
    """Return the cohort the app opens."""
    return Path(os.environ.get("WORKBENCH_COHORT") or data_folder() / "sample")


def pair_folder() -> Path:
    """Return the folder of the model pair in use."""
    return _pair_folder(str(data_folder()), named_pair())


def named_pair() -> str:
    """Return the folder of a pair that was named by hand, in place of the champion; or nothing."""
    return os.environ.get("WORKBENCH_MODELS") or ""


@st.cache_resource(max_entries=1)
def hold_database_open(path: Path):
    """Keep a connection to the installation's database, so that short ones end at once."""
    return store.held_open(path)


def cohort() -> Cohort:
    """Return the open cohort; without one, say on the page how to make it and stop the page."""
    folder = cohort_folder()
    try:
        return _open_cohort(str(folder), key_of(folder))
    except WorkbenchError as error:
        notice.missing_cohort(str(error))
        st.stop()


def drug_map() -> DrugMap | None:
    """Return this installation's drug map if it has one; WorkbenchError where it is none."""
    path = Installation(data_folder()).drug_map
    return path and _open_drug_map(path, path.stat().st_mtime_ns if path.is_file() else 0)


def patient_index(cohort: Cohort) -> PatientIndex:
    """Return the index of a cohort; build it first, with a progress bar, where it is missing."""
    index = PatientIndex(data_folder() / "workbench.sqlite", cohort.fingerprint)
    if not index.is_built():
        total = max(len(cohort.splits), 1)
        step = max(total // 200, 1)  # a bar need not be redrawn for every patient
        bar = st.progress(0.0, text="Indexing the patients of this cohort, once …")

        def show(done: int) -> None:
            if done % step == 0 or done == total:
                bar.progress(min(done / total, 1.0), text=_count(done, total))

        try:
            index.build(patient_terms.rows(cohort), show)
        finally:
            bar.empty()
    return index


def warm_up() -> None:
    """Start to load the models; what is wrong with them is said where they are asked."""
    with suppress(WorkbenchError):
        models()


def models() -> Models:
    """Return the models of the pair in use, loaded or still loading.

    Another pair may be put in use at any moment: a page asks once, and hands what it got to the
    functions below, so that all it shows is of one pair.
    """
    return _following(str(data_folder()), named_pair()).models()


def pick_up_note() -> str:
    """Return what is to be said about how the app follows the champion; mostly nothing."""
    if named_pair():
        return (
            "These models were named by hand (WORKBENCH_MODELS): "
            "promoting another version does not change them."
        )
    problem = _following(str(data_folder()), named_pair()).problem
    return problem and f"Another version was put in use, and this one goes on answering: {problem}"


def recommender(of: Models | None = None):
    """Return the pair, its student loaded; None while it is loading, which takes seconds.

    Raises WorkbenchError when it is broken, until `load_again`.
    """
    loading = (of or models()).student
    return loading.result() if loading.done() else None


def load_again() -> None:
    """Load the models anew the next time they are asked, as after someone mended them."""
    _following.clear()


def prompt(cohort: Cohort, visit: Visit, of: Models | None = None):
    """Return what the teacher reads of a visit, or None while its tokenizer is loading."""
    of = of or models()
    if not of.tokenizer.done():
        return None
    return _prompt(*_key(cohort, visit, of), cohort, visit, recommender(of))


def teacher_answer(cohort: Cohort, visit: Visit, of: Models | None = None):
    """Return the teacher's answer about a visit if it is there, else None; raises what failed."""
    of = of or models()
    question = _question(cohort, visit, of)
    if question is None:
        return of.known(cohort, visit)
    return question.result() if question.done() else None


def ask_teacher(cohort: Cohort, *visits: Visit) -> None:
    """Ask the teacher about visits, in this order, each once.

    Asking about others withdraws what this session has asked before. An answer that is already
    being worked out is finished, and remembered for whoever asks next.
    """
    of = models()
    wanted = {_key(cohort, visit, of): visit for visit in visits}
    asked = st.session_state.pop("teacher_questions", {})
    for key in asked.keys() - wanted.keys():
        asked.pop(key).cancel()
    for key, visit in wanted.items():
        if key not in asked and of.known(cohort, visit) is None:
            asked[key] = of.ask_teacher(cohort, visit)
    st.session_state["teacher_questions"] = asked


def forget_question() -> None:
    """Withdraw what this session has asked; the teacher will be asked anew."""
    for answer in st.session_state.pop("teacher_questions", {}).values():
        answer.cancel()


def progress(cohort: Cohort, visit: Visit, of: Models | None = None) -> tuple:
    """Return which pair it is, which of its models are loaded, and whether the teacher is through.

    All of it is true when there is nothing more to wait for.
    """
    of = of or models()
    question = _question(cohort, visit, of)
    through = of.known(cohort, visit) if question is None else question.done()
    loading = of.student, of.tokenizer, of.teacher
    return of.key, *(part.done() for part in loading), bool(through)


def _question(cohort: Cohort, visit: Visit, of: Models) -> Future | None:
    """Return this session's question to these models' teacher about this visit, if there is one."""
    return st.session_state.get("teacher_questions", {}).get(_key(cohort, visit, of))


def open_patient(patient_id: str) -> None:
    """Make this the patient of the session; the id stays out of the address bar."""
    st.session_state["patient_id"] = patient_id
    st.session_state.pop("visit_id", None)


def chosen_patient() -> str | None:
    """Return the id of the patient that was opened last, if any."""
    return st.session_state.get("patient_id")


@contextmanager
def faults_shown() -> Iterator[None]:
    """Turn every failure of a page into a box; a fault is logged by its kind and place only."""
    try:
        yield
    except WorkbenchError as error:
        notice.error(str(error))
    except Exception as error:  # noqa: BLE001  the last line of defence: message may hold records
        logger.error("%s at %s", type(error).__name__, _place(error))
        notice.unexpected()


def _place(error: Exception) -> str:
    """Return where in our own files an exception came from, without anything it carries."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(str(PROJECT))] or frames
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in own[:-4:-1])


@st.cache_resource(max_entries=4, show_spinner="Opening the cohort …")
def _open_cohort(folder: str, key: tuple) -> Cohort:
    return Cohort.open(folder)


@st.cache_resource(max_entries=2, show_spinner=False)
def _open_drug_map(path: Path, changed: int) -> DrugMap:
    return DrugMap.open(path)


@st.cache_resource(max_entries=2, show_spinner=False)
def _following(data: str, named: str) -> Following:
    return Following(lambda: _pair_folder(data, named)).watch()


def _pair_folder(data: str, named: str) -> Path:
    if named:
        return Path(named)
    return aliases.champion_folder(Installation(Path(data)), aliases.PRETRAINED)


@st.cache_data(max_entries=500, show_spinner=False)
def _prompt(
    models: tuple, fingerprint: str, visit_id: str, _cohort: Cohort, _visit: Visit, _recommender
):
    return _recommender.prompt(_cohort, _visit)


def _key(cohort: Cohort, visit: Visit, of: Models) -> tuple[tuple, str, str]:
    return of.key, cohort.fingerprint, visit.visit_id


def _count(done: int, total: int) -> str:
    if done == total:
        return "Indexing the patients of this cohort, once … writing"
    return f"Indexing the patients of this cohort, once … {done:,} of {total:,}"
