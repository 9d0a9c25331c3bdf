"""What the Retrain page works with: the queue, the registry, and the choices of a new run."""

import os
from pathlib import Path

import streamlit as st

from app import session
from engine.config import Recipe, load_recipe
from engine.errors import WorkbenchError
from engine.files import read_json
from engine.installation import Installation
from engine.jobs.client import Client
from engine.jobs.retraining import COMPARISON
from engine.records.cohort import FILES, Cohort
from engine.registry.versions import Registry

RECIPES = session.PROJECT / "recipes"
BASE_MODELS = session.PROJECT / "models"  # where docs tell people to put their own
SHIPPED_BASE = "default"
OPENED_RUN, OPENED_VERSION = "retrain-run", "retrain-version"


def client() -> Client:
    """Return the client of the retraining queue, shared by all sessions."""
    installation = Installation.current()
    return _client(str(installation.folder), installation.jobs_url)


def registry() -> Registry:
    """Return the registered versions of this installation."""
    return Registry(Installation.current())


def pinned() -> str | None:
    """Return the folder of the pair that WORKBENCH_MODELS makes this app open, if it does."""
    return os.environ.get("WORKBENCH_MODELS") or None


def cohorts() -> list[Path]:
    """Return the folders of cohorts one may train on: the open one, and those beside it."""
    opened = session.cohort_folder()
    beside = sorted(opened.parent.iterdir()) if opened.parent.is_dir() else []
    own = Installation.current().folder
    beside += sorted(own.iterdir()) if own.is_dir() else []
    found = {folder.resolve(): folder for folder in [opened, *beside] if _is_cohort(folder)}
    return list(found.values())


def open_cohort(folder: Path) -> Cohort:
    """Return a cohort to train on; WorkbenchError naming the file that is missing or damaged."""
    return _open_cohort(str(folder), (folder / "manifest.json").stat().st_mtime_ns)


def recipes() -> dict[str, Recipe]:
    """Return the recipes to start from by what they are called: the champion's, then the shipped.

    A recipe that cannot be read is left out: the command line names what is wrong with it.
    """
    found = {}
    champion = registry().champion().folder / "recipe.yaml"
    for path in [champion, *sorted(RECIPES.glob("*.yaml"), key=_by_use)]:
        try:
            recipe = load_recipe(path)
        except WorkbenchError:
            continue
        in_use = ", as the one in use" if path == champion else ""
        if recipe not in found.values():
            found[f"{recipe.name}{in_use}"] = recipe
    return found


def base_models() -> list[str]:
    """Return the base models at hand: the shipped one, and folders of `models/`."""
    own = sorted(BASE_MODELS.glob("*/config.json"))
    return [SHIPPED_BASE, *(str(file.parent.relative_to(session.PROJECT)) for file in own)]


def comparison(run_id: str) -> dict | None:
    """Return the comparison that a run ended with; None where there is none."""
    path = Installation.current().runs / run_id / COMPARISON
    return read_json(path, "resume the run, or start it again") if path.is_file() else None


def _by_use(path: Path) -> tuple[bool, str]:
    """Put the quick recipe first: who tries the page tries that one."""
    return path.stem != "quick", path.stem


def _is_cohort(folder: Path) -> bool:
    return folder.is_dir() and all((folder / name).is_file() for name in (*FILES, "manifest.json"))


@st.cache_resource(max_entries=2, show_spinner="Opening the queue …")
def _client(folder: str, jobs_url: str) -> Client:
    return Client(Installation.current())


@st.cache_resource(max_entries=4, show_spinner="Opening the cohort …")
def _open_cohort(folder: str, stamp: int) -> Cohort:
    return Cohort.open(folder)
