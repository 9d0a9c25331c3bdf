"""Every page that a role may open, one stop after another, as tests and pictures need them."""

from collections.abc import Iterator
from typing import NamedTuple

from playwright.sync_api import Page

from engine.credentials import DEMONSTRATION

IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
ROW_HEIGHT = 33  # pixels of a line of the patients' table, its header included


class Stop(NamedTuple):
    """A page, or a tab of one, that is drawn to its end."""

    name: str
    shows: str = ""  # the heading that a picture starts at; empty: the top


def visit(page: Page, address: str, role: str, patient: int = 2) -> Iterator[Stop]:
    """Sign in with a role's demonstration account and go from page to page.

    Args:
        patient: the line of the patients' table that is opened, from 0.
    """
    page.goto(address)
    page.get_by_text("Demonstration accounts").wait_for()
    yield _settled(page, Stop("sign-in"))
    page.get_by_label("Name", exact=True).fill(role)
    page.get_by_label("Password", exact=True).fill(DEMONSTRATION[role])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Sign out").wait_for()
    if role != "auditor":
        yield from _patients(page, patient)
        yield from _what_if(page)
    if role != "clinician":
        yield _opened(page, "Audit", "audit", "each sealed with the one before")
    if role == "administrator":
        yield _opened(page, "Data", "data")
        yield _opened(page, "Retrain", "retrain")
    yield from _performance(page)


def show(page: Page, stop: Stop) -> None:
    """Scroll to what a stop shows."""
    if stop.shows:
        heading = page.get_by_role("heading", name=stop.shows, exact=True)
        heading.evaluate("element => element.scrollIntoView()")
        page.get_by_test_id("stMain").evaluate("element => element.scrollBy(0, -70)")
    else:
        page.get_by_test_id("stMain").evaluate("element => element.scrollTo(0, 0)")


def _patients(page: Page, patient: int) -> Iterator[Stop]:
    page.get_by_text("click one to open it").wait_for()
    table = page.get_by_test_id("stDataFrame").locator("canvas").first
    table.wait_for()
    yield _settled(page, Stop("patients"))
    box = table.bounding_box()
    page.mouse.click(box["x"] + 40, box["y"] + (patient + 1.5) * ROW_HEIGHT)
    page.get_by_text("proposed by either").wait_for()  # both models have answered
    page.get_by_text("Which medication groups does").wait_for()
    yield _settled(page, Stop("recommend"))
    if page.get_by_role("button", name="Accept all that are open").count():
        page.get_by_role("button", name="Accept all that are open").click()
    yield _settled(page, Stop("decide", "Safety"))
    page.get_by_role("tab", name="What it rests on").click()
    page.get_by_text("Each line leaves one thing out").wait_for()
    yield _settled(page, Stop("rests-on", "Safety"))
    page.get_by_role("tab", name="Similar patients").click()
    page.get_by_text("Alike as the student sees them").wait_for()
    yield _settled(page, Stop("similar", "Safety"))


def _what_if(page: Page) -> Iterator[Stop]:
    page.get_by_role("link", name="What if").click()
    page.get_by_role("heading", name="What changes").wait_for()
    field = page.get_by_role("combobox", name="Diagnoses")
    field.fill("I48.91")
    field.press("Enter")
    field.press("Escape")
    page.get_by_text("The teacher is reading").wait_for(state="hidden")
    yield _settled(page, Stop("what-if"))


def _performance(page: Page) -> Iterator[Stop]:
    yield _opened(page, "Performance", "performance", "In use:")
    for tab in ("Groups of patients", "Inputs today", "In use", "Model card"):
        page.get_by_role("tab", name=tab).click()
        yield _settled(page, Stop(f"performance-{tab.split()[0].lower()}"))


def _opened(page: Page, link: str, name: str, words: str = "") -> Stop:
    page.get_by_role("link", name=link, exact=True).click()
    page.get_by_role("heading", name=link, exact=True).first.wait_for()
    if words:
        page.get_by_text(words).first.wait_for()
    return _settled(page, Stop(name))


def _settled(page: Page, stop: Stop) -> Stop:
    """Wait until nothing runs and nothing stale stands on the page."""
    page.locator(IDLE).wait_for()
    page.wait_for_function("!document.querySelector('[data-stale=true]')")
    page.locator(IDLE).wait_for()
    return stop
