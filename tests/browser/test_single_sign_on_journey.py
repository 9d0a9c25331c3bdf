"""Signing in through an identity provider, in Debian's Chromium."""

import pytest
from playwright.sync_api import expect

from tests.browser import serving
from tests.browser.identity_provider import provider

pytestmark = serving.IN_A_BROWSER
BUTTON = "Sign in with your hospital account"


@pytest.fixture
def hospital():
    with provider() as hospital:
        yield hospital


@pytest.fixture
def address(hospital, tiny_cohort, tmp_path):
    port = serving.free_port()
    data, secrets = tmp_path / "data", tmp_path / "secrets.toml"
    data.mkdir()
    (data / "accounts.yaml").write_text(
        f"issuer: {hospital.address}\nroles: {{wards: clinician, revision: auditor}}\n"
    )
    secrets.write_text(
        "[auth]\n"
        f'redirect_uri = "http://127.0.0.1:{port}/oauth2callback"\n'
        'cookie_secret = "a secret of this test alone, long enough"\n'
        'client_id = "workbench"\n'
        'client_secret = "secret"\n'
        f'server_metadata_url = "{hospital.address}/.well-known/openid-configuration"\n'
    )
    no_models = tmp_path / "none"
    options = "--secrets.files", str(secrets)
    with serving.served(tiny_cohort, no_models, data, *options, port=port) as address:
        yield address


def test_who_has_a_role_comes_in_stays_in_over_a_reload_and_leaves(address, page, hospital):
    hospital.groups = ["everybody", "revision"]
    page.goto(address)
    page.get_by_role("button", name=BUTTON).click()
    expect(page.get_by_role("heading", name="Audit")).to_be_visible()
    expect(page.get_by_text("a.lee", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Audit")).to_be_visible()
    cookies = [c for c in page.context.cookies() if c["name"].startswith("_streamlit_user")]
    assert cookies and all(cookie["httpOnly"] for cookie in cookies)

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name=BUTTON)).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name=BUTTON)).to_be_visible()
    assert hospital.asked == 1


def test_who_has_none_stays_out(address, page, hospital):
    hospital.groups = ["kitchen"]
    page.goto(address)
    page.get_by_role("button", name=BUTTON).click()
    expect(page.get_by_text("None of your groups has a role")).to_be_visible()
    expect(page.get_by_role("heading", name="Patients")).to_have_count(0)
    page.get_by_role("button", name="Use another account").click()
    expect(page.get_by_role("button", name=BUTTON)).to_be_visible()
