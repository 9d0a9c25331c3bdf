"""A clinician's way through the workbench, in Debian's Chromium, and what an auditor sees of it.

What stands on the screen is held against what the engine answers itself. Screenshots of the way
are kept in `tests/browser/screenshots/`.
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.widgets import basis_panel
from engine.basis import Effect, basis, inputs_of
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.terminology import atc, icd
from engine.what_if import edit
from tests.browser import serving
from tests.browser.hands import cells, lines, open_row, settled, sign_in, table
from tests.browser.watching import Watch

SCREENSHOTS = Path(__file__).resolve().parent / "screenshots"
RECOMMENDATION = "Medication groups with the probabilities"  # how screen readers hear the tables
WHAT_CHANGES = "Probabilities after the edit"
MODELS, NOT_ZERO = ("Student", "Teacher"), re.compile("[1-9]")
CLOSE = {"abs": 3e-5}  # of probability: far less than one diagnosis moves it
LOOKED_AT = 12  # lines of the recommendation
KEEP_PROGRESS = """() => {
  window.progress = [];
  const look = () => document.querySelectorAll('[data-testid="stProgress"]').forEach(
    bar => window.progress.push(bar.innerText));
  new MutationObserver(look).observe(
    document.body, {subtree: true, childList: true, characterData: true});
}"""

pytestmark = serving.IN_A_BROWSER


@pytest.fixture(scope="module")
def address(tiny_cohort, attentive_pair, tmp_path_factory):
    """The app, served as `make run` serves it; each test has a browser of its own."""
    with serving.served(tiny_cohort, attentive_pair, tmp_path_factory.mktemp("served")) as address:
        yield address


@pytest.fixture
def cohort(tiny_cohort):
    return Cohort.open(tiny_cohort)


@pytest.fixture
def recommender(attentive_pair):
    """The engine, asked beside the app."""
    return Recommender.load(attentive_pair)


@pytest.fixture
def visit(cohort):
    """The latest visit of somebody who was there three times."""
    visits = map(cohort.visits, cohort.patient_ids())
    return next(known[-1] for known in visits if len(known) == 3)


def picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_a_clinician_finds_compares_explains_and_asks_what_if(
    address, page, cohort, recommender, visit
):
    watch = Watch(page, address)
    page.goto(address)
    sign_in(page, "clinician")
    finds_and_opens(page, visit)
    said = recommender.recommend(cohort, visit)
    compares_and_reads(page, said, recommender.prompt(cohort, visit))
    sees_what_it_rests_on(page, cohort, visit, recommender, said)
    sees_who_is_alike(page, visit)
    adds_a_diagnosis(page, cohort, visit, recommender)
    signs_out(page, address, visit)
    assert not page.get_by_test_id("stException").count()
    assert watch.errors() == []
    assert watch.outside() == [], "the app needs no network"
    assert watch.naming(visit.patient_id) == [], "no patient in an address"


def finds_and_opens(page: Page, visit) -> None:
    expect(page.get_by_text("click one to open it")).to_be_visible()
    page.get_by_placeholder("Patient id, diagnosis").fill(visit.patient_id)
    expect(page.get_by_text("1 patient ·")).to_be_visible()
    found = table(page, "Patients found")
    expect(found.get_by_text(visit.patient_id)).to_be_attached()
    assert [line["Visits"] for line in lines(found)] == ["3"]
    picture(page, "1-found")
    open_row(page)
    expect(page.get_by_role("heading", name=f"Patient {visit.patient_id}")).to_be_visible()
    expect(page.get_by_text("Decision support for research. A clinician decides.")).to_be_visible()


def compares_and_reads(page: Page, said, prompt) -> None:
    expect(page.get_by_text("proposed by either")).to_be_visible()  # the teacher has answered
    settled(page)
    chart = page.get_by_test_id("stPlotlyChart").nth(1)
    bars = chart.locator(".barlayer .trace.bars")
    expect(bars).to_have_count(2)  # the teacher's and the student's
    for model in (0, 1):
        expect(bars.nth(model).locator("path")).to_have_count(len(said.rows))
    expect(chart.get_by_text("teacher threshold")).to_be_visible()
    expect(chart.get_by_text("student threshold")).to_be_visible()
    shown = {line["Code"]: line for line in lines(table(page, RECOMMENDATION))}
    assert list(shown)[:LOOKED_AT] == [row.atc for row in said.rows[:LOOKED_AT]]
    for row in said.rows[:LOOKED_AT]:
        assert float(shown[row.atc]["Teacher"]) == pytest.approx(row.teacher, abs=0.006)
        assert float(shown[row.atc]["Student"]) == pytest.approx(row.student, abs=0.006)
    expect(page.get_by_text(f"{prompt.tokens:,} tokens")).to_be_visible()
    read = page.locator(".wb-prompt").inner_text()
    assert read.split() == prompt.text.split()
    picture(page, "2-recommend")


def sees_what_it_rests_on(page: Page, cohort, visit, recommender, said) -> None:
    student = basis(visit, recommender.student_probabilities)
    teacher = basis(visit, lambda many: recommender.teacher_probabilities(cohort, many))
    column = {row.atc: recommender.vocabulary.medication_index(row.atc) for row in said.rows}
    group = max(column, key=lambda one: abs(teacher.effects[:, column[one]]).max())
    page.get_by_role("tab", name="What it rests on").click()
    chosen = page.get_by_role("combobox", name="Medication group")
    chosen.fill(f"({group})")
    page.get_by_role("option", name=f"({group})").click()
    expect(page.locator(".wb-bars")).to_have_count(1)
    settled(page)
    holds(page, cohort, 0, student.of(column[group]))
    page.evaluate(KEEP_PROGRESS)
    page.get_by_role("button", name="Ask the teacher (").click()
    expect(page.locator(".wb-bars")).to_have_count(2)
    holds(page, cohort, 1, teacher.of(column[group]))
    readings = len(inputs_of(visit)) + 1
    assert any(f" of {readings}" in words for words in page.evaluate("window.progress"))
    picture(page, "3-rests-on")


def holds(page: Page, cohort, model: int, found: list[Effect]) -> None:
    """Hold the signed bars of a model, in words, against what leaving an input out does."""
    effects = {basis_panel.name(one, cohort.title): one.change for one in found}
    bars = page.locator(".wb-bars").nth(model).locator(".row").all()
    assert bars
    for bar in bars:
        number, _, words = (part.inner_text() for part in bar.locator(":scope > span").all())
        assert re.fullmatch(r"[+−]0\.\d\d", number)
        assert float(number.replace("−", "-")) == pytest.approx(effects[words], abs=0.006)
    strongest = max(effects, key=lambda one: abs(effects[one]))
    assert any(strongest in bar.inner_text() for bar in bars)


def sees_who_is_alike(page: Page, visit) -> None:
    page.get_by_role("tab", name="Similar patients").click()
    cards = page.locator(".wb-cards.five .wb-card")
    expect(cards).to_have_count(5)
    for card in cards.all():
        assert re.search(r"\d\.\d\d alike", card.inner_text())
        assert visit.patient_id not in card.inner_text()
    shares = lines(table(page, "What the similar patients were given"))
    assert shares and all(line["Code"] in atc.groups() for line in shares)
    picture(page, "4-similar")


def adds_a_diagnosis(page: Page, cohort, visit, recommender) -> None:
    code = telling_diagnosis(visit, recommender)
    name = f"{icd.title('diagnosis', code)} ({icd.dotted('diagnosis', code)})"
    page.get_by_role("link", name="What if").click()
    expect(page.get_by_role("heading", name="What changes")).to_be_visible()
    field = page.get_by_role("combobox", name="Diagnoses")
    field.fill(icd.title("diagnosis", code))
    page.get_by_role("option", name=name, exact=True).click()
    field.press("Escape")
    expect(page.get_by_label(name, exact=True)).to_be_visible()  # among what was chosen
    changes = table(page, WHAT_CHANGES)
    for model in MODELS:
        expect(cells(changes, f"{model}, change").filter(has_text=NOT_ZERO).first).to_be_attached()
    settled(page)
    edited = edit(
        visit, [*visit.diagnoses, code], visit.procedures, list(visit.previous_medications)
    )
    shown = lines(changes)
    for model in MODELS:
        before, after = (answer(recommender, model, cohort, one) for one in (visit, edited))
        for line in shown:
            column = recommender.vocabulary.medication_index(line["Code"])
            assert float(line[model]) == pytest.approx(after[column], **CLOSE)
            moved = after[column] - before[column]
            assert float(line[f"{model}, change"]) == pytest.approx(moved, **CLOSE)
    picture(page, "5-what-if")


def telling_diagnosis(visit, recommender) -> str:
    """Return a diagnosis that is not on record and that moves the student, of some it knows."""
    others = [code for code in recommender.vocabulary.diagnoses if code not in visit.diagnoses]
    visits = [replace(visit, diagnoses=(*visit.diagnoses, code)) for code in others[:60]]
    now, *then = recommender.student_probabilities([visit, *visits])
    return max(zip(others, then, strict=False), key=lambda one: abs(one[1] - now).max())[0]


def answer(recommender, model: str, cohort, visit):
    if model == "Student":
        return recommender.student_probabilities([visit])[0]
    return recommender.teacher_probabilities(cohort, [visit])[0]


def signs_out(page: Page, address: str, visit) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    expect(page.get_by_text(visit.patient_id)).to_have_count(0)
    page.goto(f"{address}/recommend")
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    settled(page)
    assert visit.patient_id not in page.content()


def test_whoever_comes_next_at_the_same_tab_starts_anew(address, page, visit):
    page.goto(address)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_text("Demonstration accounts")).to_be_visible()
    picture(page, "0-sign-in")
    sign_in(page, "clinician", "not the password")
    expect(page.get_by_text("the name or the password is wrong")).to_be_visible()
    sign_in(page, "clinician")
    page.get_by_placeholder("Patient id, diagnosis").fill(visit.patient_id)
    expect(page.get_by_text("1 patient ·")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, "clinician")
    expect(page.get_by_text("click one to open it")).to_be_visible()
    expect(page.get_by_placeholder("Patient id, diagnosis")).to_have_value("")


def test_a_clinician_who_types_the_address_of_another_roles_page_is_refused(address, page):
    page.goto(f"{address}/audit")
    sign_in(page, "clinician")
    expect(page.get_by_text("This page is not for your role")).to_be_visible()
    expect(page.get_by_role("heading", name="Audit")).to_have_count(0)
    picture(page, "11-refused")
    page.get_by_role("button", name="Go to Patients").click()
    expect(page.get_by_role("heading", name="Patients")).to_be_visible()


def test_a_reload_signs_out_of_a_local_account(address, page):
    page.goto(address)
    sign_in(page, "auditor")
    expect(page.get_by_role("heading", name="Audit")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
