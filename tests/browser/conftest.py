"""What the tests in a browser share: an empty page of it."""

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser import serving


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
