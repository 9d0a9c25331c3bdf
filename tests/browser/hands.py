"""What a person does at the app, with mouse and keyboard, and what they read off its tables."""

from playwright.sync_api import Locator, Page, expect

from engine.credentials import DEMONSTRATION

ROW_HEIGHT = 33  # pixels of a line of the patients' table, its header included
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
STALE = "document.querySelector('[data-stale=true]')"
EDITOR = "#portal input, #portal textarea"  # of the cell that is being edited
CLICKS, HEARD = 60, 2_000  # at most; milliseconds to wait for what a click does
LINES = """table => {
  const titles = [...table.querySelectorAll('th')].map(cell => cell.textContent);
  return [...table.querySelectorAll('tbody tr')].map(line => Object.fromEntries(
    [...line.querySelectorAll('td')].map((cell, place) => [titles[place], cell.textContent])));
}"""


def sign_in(page: Page, name: str, password: str | None = None) -> None:
    """Type a name and a password, by default that of the demonstration account of that name."""
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(password or DEMONSTRATION[name])
    page.get_by_role("button", name="Sign in", exact=True).click()


def open_row(page: Page, number: int = 0) -> None:
    """Click a line of the patients' table, which is drawn on a canvas."""
    table = page.get_by_test_id("stDataFrame").locator("canvas").first
    table.wait_for()
    box = table.bounding_box()
    page.mouse.click(box["x"] + 40, box["y"] + (number + 1.5) * ROW_HEIGHT)


def settled(page: Page) -> None:
    """Wait until nothing runs and nothing stale stands on the page."""
    page.locator(IDLE).wait_for()
    page.wait_for_function(f"!{STALE}")
    page.locator(IDLE).wait_for()


def table(page: Page, words: str) -> Locator:
    """Return the table that these words describe to a screen reader."""
    return page.get_by_test_id("stDataFrame").filter(has=page.locator(f'[aria-label*="{words}"]'))


def lines(table: Locator) -> list[dict[str, str]]:
    """Return the lines of a table, title of the column → what stands there."""
    return table.locator("table").first.evaluate(LINES)


def cells(table: Locator, title: str) -> Locator:
    """Return the cells of a column."""
    number = table.get_by_role("columnheader", name=title, exact=True, include_hidden=True)
    return table.locator(f'td[aria-colindex="{number.get_attribute("aria-colindex")}"]')


def write(table: Locator, line: int, column: int, text: str) -> None:
    """Write into a cell of a table by keyboard; of a list, choose what `text` finds."""
    page = table.page
    cell = table.get_by_test_id(f"glide-cell-{column}-{line}")
    for _ in range(CLICKS):
        settled(page)
        _enter(table)
        cell.focus()
        expect(cell).to_have_attribute("aria-selected", "true")
        page.keyboard.press("Enter")
        editor = page.locator(EDITOR).first
        expect(editor).to_be_focused()
        page.keyboard.type(text)
        expect(editor).to_have_value(text)
        page.keyboard.press("Enter")
        editor.wait_for(state="detached")
        try:
            expect(cell).to_contain_text(text, timeout=HEARD)
        except AssertionError:  # the page was drawn anew meanwhile, and the editor forgot
            continue
        return
    raise AssertionError(f"the table does not keep what is typed into line {line}")


def _enter(table: Locator) -> None:
    """Click the first cell, which may not be edited, until the table has heard of it."""
    corner = table.get_by_test_id("glide-cell-0-0")
    for _ in range(CLICKS):
        table.locator(".dvn-scroller").click(position={"x": 40, "y": 1.5 * ROW_HEIGHT})
        try:
            expect(corner).to_have_attribute("aria-selected", "true", timeout=HEARD)
        except AssertionError:  # the first click after a table was drawn is lost at times
            continue
        return
    raise AssertionError("the table takes no click")
