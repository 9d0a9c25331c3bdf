"""A clinician's first minutes, in Debian's Chromium: sign in, find a patient, read, compare, leave.

Screenshots of the way are kept in `tests/browser/screenshots/`.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine.credentials import DEMONSTRATION
from engine.records.cohort import Cohort
from tests.browser import serving

SCREENSHOTS = Path(__file__).resolve().parent / "screenshots"
ROW_HEIGHT = 33  # pixels of a line of the patients' table, its header included

pytestmark = serving.IN_A_BROWSER


@pytest.fixture
def address(tiny_cohort, tiny_pair, tmp_path):
    """The address of the app, served as `make run` serves it."""
    with serving.served(tiny_cohort, tiny_pair, tmp_path / "data") as address:
        yield address


def picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def whole_picture(page: Page, name: str) -> None:
    """Keep the whole page: the window is made as high as what it scrolls."""
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": 1440, "height": height + 60})
    picture(page, name)


def sign_in(page: Page, name: str, password: str | None = None) -> None:
    """Type a name and a password, by default that of the demonstration account of that name."""
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(password or DEMONSTRATION[name])
    page.get_by_role("button", name="Sign in", exact=True).click()


def open_first_row(page: Page) -> None:
    """Click the first line of the table, which is drawn on a canvas."""
    box = page.get_by_test_id("stDataFrame").locator("canvas").first.bounding_box()
    page.mouse.click(box["x"] + 40, box["y"] + 1.5 * ROW_HEIGHT)


def test_find_a_patient_read_the_prompt_and_compare_both_models(address, page, tiny_cohort):
    cohort = Cohort.open(tiny_cohort)
    patient_id = max(cohort.patient_ids(), key=lambda patient: len(cohort.visits(patient)))
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))

    page.goto(address)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_text("Demonstration accounts")).to_be_visible()
    picture(page, "0-sign-in")
    sign_in(page, "clinician", "not the password")
    expect(page.get_by_text("the name or the password is wrong")).to_be_visible()
    sign_in(page, "clinician")
    expect(page.get_by_role("heading", name="Patients")).to_be_visible()
    expect(page.get_by_text("click one to open it")).to_be_visible()
    picture(page, "1-patients")

    page.get_by_placeholder("Patient id, diagnosis").fill(patient_id)
    expect(page.get_by_text("1 patient ·")).to_be_visible()
    expect(page.get_by_test_id("stDataFrame").get_by_text(patient_id)).to_be_attached()
    picture(page, "2-search")

    open_first_row(page)
    expect(page.get_by_role("heading", name=f"Patient {patient_id}")).to_be_visible()
    expect(page.get_by_text("Decision support for research. A clinician decides.")).to_be_visible()
    expect(page.get_by_text("Which medication groups does the patient need")).to_be_visible()
    expect(page.get_by_text("proposed by either")).to_be_visible()
    chart = page.get_by_test_id("stPlotlyChart").nth(1)
    bars = chart.locator(".barlayer .trace.bars")
    expect(bars).to_have_count(2)  # the teacher's and the student's
    for model in (0, 1):
        expect(bars.nth(model).locator("path").first).to_be_visible()
    expect(chart.get_by_text("teacher threshold")).to_be_visible()
    expect(chart.get_by_text("student threshold")).to_be_visible()
    picture(page, "3-recommend")
    whole_picture(page, "4-recommend-whole")

    assert patient_id not in page.url
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    expect(page.get_by_text(patient_id)).to_have_count(0)
    sign_in(page, "clinician")  # at the same tab: whoever comes next starts anew
    expect(page.get_by_text("click one to open it")).to_be_visible()
    expect(page.get_by_placeholder("Patient id, diagnosis")).to_have_value("")

    assert not page.get_by_test_id("stException").count()
    own = (address, address.replace("http", "ws"), "data:", "blob:")
    assert not [url for url in requested if not url.startswith(own)], "the app needs no network"
    assert not [url for url in requested if patient_id in url], "no patient in an address"


def test_a_clinician_who_types_the_address_of_another_roles_page_is_refused(address, page):
    page.goto(f"{address}/audit")
    sign_in(page, "clinician")
    expect(page.get_by_text("This page is not for your role")).to_be_visible()
    expect(page.get_by_role("heading", name="Audit")).to_have_count(0)
    picture(page, "5-refused")
    page.get_by_role("button", name="Go to Patients").click()
    expect(page.get_by_role("heading", name="Patients")).to_be_visible()


def test_a_reload_signs_out_of_a_local_account(address, page):
    page.goto(address)
    sign_in(page, "auditor")
    expect(page.get_by_role("heading", name="Audit")).to_be_visible()
    expect(page.get_by_text("each sealed with the one before")).to_be_visible()
    picture(page, "6-audit")
    page.reload()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
