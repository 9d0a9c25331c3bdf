"""What axe-core finds on every page, for every role: nothing serious, nothing critical.

The pages are looked at in light, and those of a clinician's way to an answer in dark as well.

axe-core is a file of the npm registry. `npm install --prefix .venv/axe axe-core` brings it, as
the build server does; AXE_CORE names another copy.
"""

import os
from pathlib import Path

import pytest

from tests.browser import serving, tour

AXE = Path(
    os.environ.get("AXE_CORE") or serving.ROOT / ".venv/axe/node_modules/axe-core/axe.min.js"
)
GRAVE = ("serious", "critical")
ALSO_DARK = ("sign-in", "recommend", "what-if", "performance")  # of the clinician's
LOOKS = 6  # at a page whose drawing may not have come to rest
SETTLED = """() => !document.querySelector('[data-stale="true"]') && !document.querySelector(
  '[data-testid="stApp"][data-test-script-state="running"]')"""
# Streamlit's own, which the app cannot mend: rule → the part of the page, and why.
ALLOWED: dict[str, tuple[str, str]] = {
    "scrollable-region-focusable": (
        "react-aria",
        "the box that a multiselect keeps many tags in; the tags within it take the focus",
    ),
}

pytestmark = [
    *serving.IN_A_BROWSER,
    pytest.mark.skipif(
        not AXE.is_file(), reason="no axe-core here; npm install --prefix .venv/axe axe-core"
    ),
]


def violations(page) -> list[str]:
    """Return what is grave on the page and stays so, a line each.

    What Streamlit is about to draw again it shows paler for a moment, which is no fault of a page.
    """
    lines: list[str] = []
    for _ in range(LOOKS):
        page.wait_for_function(SETTLED)
        if not (lines := _violations_now(page)):
            break
        page.wait_for_timeout(1000)
    return lines


def _violations_now(page) -> list[str]:
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{rule['impact']} {rule['id']}: {node['html'][:200]} {node['target']}"
        for rule in found
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
        if not _is_allowed(rule["id"], node["html"])
    ]


def _is_allowed(rule: str, html: str) -> bool:
    part, _ = ALLOWED.get(rule, (None, ""))
    return part is not None and part in html


@pytest.mark.parametrize("role", ["clinician", "administrator", "auditor"])
def test_no_page_has_a_grave_violation(role, page, tiny_cohort, tiny_pair, tmp_path):
    found = {}
    with serving.served(tiny_cohort, tiny_pair, tmp_path / "data") as address:
        for stop in tour.visit(page, address, role):
            if lines := violations(page):
                found[stop.name] = lines
            if role == "clinician" and stop.name in ALSO_DARK:
                page.emulate_media(color_scheme="dark")
                if lines := violations(page):
                    found[f"{stop.name}, dark"] = lines
                page.emulate_media(color_scheme="light")
    assert not found, "\n".join(f"{name}: {line}" for name in found for line in found[name])


def test_the_theme_is_chosen_by_keyboard_and_nobody_is_signed_out(
    page, tiny_cohort, tiny_pair, tmp_path
):
    with serving.served(tiny_cohort, tiny_pair, tmp_path / "data") as address:
        way = tour.visit(page, address, "auditor")
        assert [next(way).name, next(way).name] == ["sign-in", "audit"]
        assert colour_scheme(page) == "light"
        page.get_by_role("button", name="Main menu").focus()
        page.keyboard.press("Enter")
        page.get_by_role("menuitemradio", name="System", checked=True).wait_for()
        page.keyboard.press("End")  # About
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        page.get_by_role("menuitemradio", name="Dark", checked=True).wait_for()
        page.keyboard.press("Escape")
        assert colour_scheme(page) == "dark"
        assert not violations(page)
        assert page.get_by_role("button", name="Sign out").is_visible()


def colour_scheme(page) -> str:
    return page.get_by_test_id("stApp").evaluate("app => getComputedStyle(app).colorScheme")
