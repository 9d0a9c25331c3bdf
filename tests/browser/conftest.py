"""What the tests in a browser share: an empty page, and models that heed what they read."""

import pytest
from playwright.sync_api import expect, sync_playwright

from engine.jobs import pipeline
from engine.records.cohort import Cohort
from tests.browser import serving
from tests.tiny_base import save_base


@pytest.fixture
def page():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=serving.CHROMIUM, args=serving.ARGUMENTS
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(serving.PATIENCE)
        expect.set_options(timeout=serving.PATIENCE)
        yield page
        browser.close()


@pytest.fixture(scope="session")
def well_read_base(tiny_cohort, tmp_path_factory):
    """A base as tiny as any that knows the words of the cohort's titles: prompts are short."""
    folder = tmp_path_factory.mktemp("well-read")
    cohort = Cohort.open(tiny_cohort)
    codes = {code for sample in cohort.samples("train") for code in sample.diagnoses}
    save_base(folder, sorted(cohort.title("diagnosis", code) for code in codes), tokens=4000)
    return folder


@pytest.fixture(scope="session")
def attentive_pair(tiny_cohort, tiny_recipe, well_read_base, tmp_path_factory):
    """A pair as tiny as any, trained far enough that one diagnosis more or less moves both."""
    steep = {"max_steps": 24, "learning_rate": 0.03, "head_learning_rate": 0.03, "patience": 24}
    recipe = tiny_recipe.model_copy(
        update={
            "prompt": tiny_recipe.prompt.model_copy(update={"max_tokens": 768}),
            "teacher": tiny_recipe.teacher.model_copy(
                update=steep | {"base_model": str(well_read_base)}
            ),
            "student": tiny_recipe.student.model_copy(
                update={"linear_path": True, "learning_rate": 0.02, "epochs": 10}
            ),
        }
    )
    run = tmp_path_factory.mktemp("attentive")
    pipeline.train_pair(Cohort.open(tiny_cohort), recipe, run, say=lambda text: None)
    return run / "pair"
