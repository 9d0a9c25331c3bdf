"""A clinician's way through the workbench, in Debian's Chromium, and what an auditor sees of it.

What stands on the screen is held against what the engine answers itself. Screenshots of the way
are kept in `tests/browser/screenshots/`.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.widgets import basis_panel
from engine.basis import Effect, basis, inputs_of
from engine.decisions import REASONS
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.records.fhir import read_bundle
from engine.terminology import atc, icd
from engine.what_if import edit
from tests.browser import serving
from tests.browser.hands import cells, lines, open_row, settled, sign_in, table, write
from tests.browser.watching import Watch

SCREENSHOTS = Path(__file__).resolve().parent / "screenshots"
RECOMMENDATION = "Medication groups with the probabilities"  # how screen readers hear the tables
WHAT_CHANGES = "Probabilities after the edit"
DECISION = "Decision for each proposed medication group"
AUDIT = "Rows of the audit"
MODELS, NOT_ZERO = ("Student", "Teacher"), re.compile("[1-9]")
DECIDE, REASON, INSTEAD, NOTE = 3, 4, 5, 6  # columns of the decision
CLOSE = {"abs": 3e-5}  # of probability: far less than one diagnosis moves it
LOOKED_AT = 12  # lines of the recommendation
KEEP_PROGRESS = """() => {
  window.progress = [];
  const look = () => document.querySelectorAll('[data-testid="stProgress"]').forEach(
    bar => window.progress.push(bar.innerText));
  new MutationObserver(look).observe(
    document.body, {subtree: true, childList: true, characterData: true});
}"""
PLACE, WHY = "<b>paracetamol</b> & rest", "falls & <i>drowsy</i>"  # typed, and shown as typed
BUNDLE = Path(__file__).with_name("bundle.json")

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


def test_a_clinician_goes_the_whole_way(address, page, cohort, recommender, visit, tmp_path):
    watch = Watch(page, address)
    page.goto(address)
    sign_in(page, "clinician")
    finds_and_opens(page, visit)
    said = recommender.recommend(cohort, visit)
    compares_and_reads(page, said, recommender.prompt(cohort, visit))
    sees_what_it_rests_on(page, cohort, visit, recommender, said)
    sees_who_is_alike(page, visit)
    adds_a_diagnosis(page, cohort, visit, recommender)
    reads_a_bundle(page, cohort, recommender)
    groups = decides(page)
    finds_it_on_the_timeline(page)
    takes_away_the_drafts(page, groups, tmp_path)
    takes_away_a_page_to_print(page, groups, tmp_path)
    signs_out(page, address, visit)
    an_auditor_finds_it(page, address, visit)
    assert watch.errors() == []
    assert not page.get_by_test_id("stException").count()
    assert watch.outside() == [], "the app needs no network"
    assert watch.naming(visit.patient_id) == [], "no patient in an address"


def finds_and_opens(page: Page, visit) -> None:
    expect(page.get_by_text("click one to open it")).to_be_visible()
    page.get_by_placeholder("Patient id, diagnosis").fill(visit.patient_id)
    expect(page.get_by_text("1 patient ·")).to_be_visible()
    found = table(page, "Patients found")
    expect(found.get_by_text(visit.patient_id)).to_be_attached()
    expect(cells(found, "Visits")).to_have_text(["3"])
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
    proposed = table(page, RECOMMENDATION)
    for place, row in enumerate(said.rows[:LOOKED_AT]):
        expect(cells(proposed, "Code").nth(place)).to_have_text(row.atc)
    shown = {line["Code"]: line for line in lines(proposed)}
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


def reads_a_bundle(page: Page, cohort, recommender) -> None:
    record = read_bundle(BUNDLE.read_text())
    visit = record.visits[-1]
    page.get_by_text("A FHIR bundle", exact=True).click()
    page.get_by_test_id("stFileUploader").locator("input[type=file]").set_input_files(BUNDLE)
    expect(page.get_by_text(re.compile("visits? read; .* has 2 diagnoses"))).to_be_visible()
    expect(page.get_by_label("Essential (primary) hypertension (I10)", exact=True)).to_be_visible()
    expect(page.get_by_label("Allergies, separated by commas", exact=True)).to_have_value(
        "Penicillin"
    )
    page.get_by_text(f"Not read ({len(record.unread)})").click()
    expect(page.get_by_text("Observation/potassium: Observation is not read")).to_be_visible()
    changes = table(page, WHAT_CHANGES)
    expect(cells(changes, "Teacher").filter(has_text=NOT_ZERO).first).to_be_attached()
    settled(page)
    shown = lines(changes)
    for model in MODELS:
        values = answer(recommender, model, cohort, visit)
        for line in shown:
            column = recommender.vocabulary.medication_index(line["Code"])
            assert float(line[model]) == pytest.approx(values[column], **CLOSE)
    picture(page, "6-bundle")


def decides(page: Page) -> list[str]:
    """Accept, change and reject the first three groups; return their codes."""
    page.get_by_role("link", name="Recommend", exact=True).click()
    expect(page.get_by_text("proposed by either")).to_be_visible()
    page.get_by_role("tab", name="Decide").click()
    expect(page.get_by_text("No decision about this visit has been saved yet.")).to_be_visible()
    settled(page)
    form = table(page, DECISION)
    write(form, 0, DECIDE, "accept")
    write(form, 1, DECIDE, "change")
    write(form, 1, REASON, REASONS["not_available"])
    write(form, 1, INSTEAD, PLACE)
    write(form, 2, DECIDE, "reject")
    write(form, 2, REASON, REASONS["other"])
    write(form, 2, NOTE, WHY)
    save = page.get_by_role("button", name="Save the decision on 3 groups")
    expect(save).to_be_visible()
    for read in page.get_by_role("checkbox", name="I have read what is contraindicated").all():
        expect(save).to_be_disabled()
        read.check(force=True)
    picture(page, "7-decide")
    groups = [line["Medication group"].split("(")[-1].rstrip(")") for line in lines(form)[:3]]
    save.click()
    expect(page.get_by_text("The decision is saved.").first).to_be_visible()
    return groups


def finds_it_on_the_timeline(page: Page) -> None:
    expect(page.get_by_text("Decision saved").first).to_be_visible()
    settled(page)
    timeline = page.get_by_test_id("stPlotlyChart").first
    expect(timeline.locator(".scatterlayer .point")).to_have_count(1)
    picture(page, "8-timeline")
    page.get_by_text("by clinician: 2 of 3 groups to be given").last.click()
    saved = table(page, "What was decided for each group")
    expect(saved.get_by_text(PLACE)).to_be_attached()
    assert [line["Decision"] for line in lines(saved)] == ["accepted", "changed", "rejected"]


def takes_away_the_drafts(page: Page, groups: list[str], folder: Path) -> None:
    drafts = json.loads(downloaded(page, "FHIR drafts", folder).read_text())
    requests = [entry["resource"] for entry in drafts["entry"]]
    assert [one["resourceType"] for one in requests] == ["MedicationRequest"] * 2
    assert {(one["status"], one["intent"]) for one in requests} == {("draft", "proposal")}
    accepted, changed = (one["medicationCodeableConcept"] for one in requests)
    assert accepted["coding"][0]["code"] == groups[0]
    assert changed == {"text": PLACE}
    assert REASONS["not_available"] in requests[1]["note"][0]["text"]


def takes_away_a_page_to_print(page: Page, groups: list[str], folder: Path) -> None:
    printed = downloaded(page, "Page to print", folder)
    assert "<b>" not in printed.read_text() and "<i>" not in printed.read_text()
    sheet = page.context.browser.new_page()
    sheet.goto(printed.as_uri())
    for text in (*groups, PLACE, WHY, REASONS["other"], "Not an order"):
        expect(sheet.get_by_text(text).first).to_be_visible()
    paper = sheet.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1
    sheet.screenshot(path=SCREENSHOTS / "9-printed.png")
    sheet.close()


def downloaded(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def signs_out(page: Page, address: str, visit) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    expect(page.get_by_text(visit.patient_id)).to_have_count(0)
    page.goto(f"{address}/recommend")
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    settled(page)
    assert visit.patient_id not in page.content()


def an_auditor_finds_it(page: Page, address: str, visit) -> None:
    page.goto(address)
    sign_in(page, "auditor")
    expect(page.get_by_text("each sealed with the one before")).to_be_visible()
    settled(page)
    for action in ("patient opened", "decision saved", "decision exported"):
        page.get_by_role("combobox", name="Action", exact=True).fill(action)
        page.get_by_role("option", name=action, exact=True).click()
        rows = table(page, AUDIT)
        expect(rows.get_by_text(action).first).to_be_attached()
        expect(rows.get_by_text("sign in", exact=True)).to_have_count(0)
        settled(page)
        assert {(line["Account"], line["Action"]) for line in lines(rows)} == {
            ("clinician", action)
        }
        assert visit.patient_id not in page.content()
    picture(page, "10-audit")
    page.get_by_label("Patient", exact=True).fill(visit.patient_id)
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 rows, newest first")).to_be_visible()  # her two exports


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
