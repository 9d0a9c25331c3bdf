"""Who is let in by the hospital's own accounts, with made-up claims."""

import pytest

from app import single_sign_on
from app.single_sign_on import NotAdmitted
from engine.errors import WorkbenchError

SETTINGS = """
issuer: https://login.hospital.example
roles:
  workbench-administrators: administrator
  workbench-auditors: auditor
  ward-7: clinician
"""
CLAIMS = {
    "iss": "https://login.hospital.example",
    "preferred_username": "a.lee",
    "email": "a.lee@hospital.example",
    "groups": ["everybody", "ward-7"],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "accounts.yaml").write_text(SETTINGS)
    return tmp_path


@pytest.fixture
def settings(folder):
    return single_sign_on.load(folder)


def test_a_group_gives_its_role(settings):
    assert single_sign_on.admitted(CLAIMS, settings) == ("a.lee", "clinician")
    alone = CLAIMS | {"groups": "workbench-auditors"}  # some issuers send one group as it is
    assert single_sign_on.admitted(alone, settings) == ("a.lee", "auditor")


def test_of_several_groups_the_first_line_of_the_settings_counts(settings):
    both = CLAIMS | {"groups": ["ward-7", "workbench-administrators"]}
    assert single_sign_on.admitted(both, settings) == ("a.lee", "administrator")


@pytest.mark.parametrize(
    "changed",
    [
        {"groups": []},
        {"groups": ["everybody"]},
        {"groups": ["WARD-7"]},
        {"groups": [["ward-7"]]},
        {"groups": {"ward-7": True}},
        {"groups": None},
        {"iss": "https://login.hospital.example.elsewhere"},
        {"iss": None},
        {"preferred_username": ""},
        {"preferred_username": ["a.lee"]},
    ],
    ids=str,
)
def test_nobody_else_gets_in(settings, changed):
    with pytest.raises(NotAdmitted):
        single_sign_on.admitted(CLAIMS | changed, settings)


def test_the_claims_to_read_can_be_named(folder):
    text = f"groups_claim: realm_access.roles\nname_claim: email\n{SETTINGS}"
    (folder / "accounts.yaml").write_text(text)
    settings = single_sign_on.load(folder)
    claims = {key: value for key, value in CLAIMS.items() if key != "groups"}
    claims["realm_access"] = {"roles": ["ward-7"]}
    assert single_sign_on.admitted(claims, settings) == ("a.lee@hospital.example", "clinician")
    address = settings.model_copy(update={"groups_claim": "https://hospital.example/groups"})
    claims["https://hospital.example/groups"] = ["workbench-auditors"]
    assert single_sign_on.admitted(claims, address)[1] == "auditor"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("roles: {ward-7: clinician}", "issuer"),
        ("issuer: https://a\nroles: {ward-7: surgeon}", "roles.ward-7"),
        ("issuer: https://a\nroles: {}", "roles"),
        ("issuer: https://a\nroles: {a: clinician}\nrole: x", "role"),
        ("- issuer", "expected the fields"),
        ("issuer: [", "cannot be read as YAML"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(folder, text, named):
    (folder / "accounts.yaml").write_text(text)
    with pytest.raises(WorkbenchError, match=named) as error:
        single_sign_on.load(folder)
    assert "accounts.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_settings_let_nobody_in_and_say_what_to_write(tmp_path):
    with pytest.raises(WorkbenchError, match="accounts.yaml: not found.*roles"):
        single_sign_on.load(tmp_path)


@pytest.mark.parametrize(
    ("age", "fresh"),
    [(0, True), (11 * 3600, True), (13 * 3600, False), (-60, True), (-3600, False)],
)
def test_the_word_of_the_issuer_ages(monkeypatch, age, fresh):
    monkeypatch.setattr(single_sign_on.time, "time", lambda: 2_000_000_000)
    assert single_sign_on.is_fresh({"iat": 2_000_000_000 - age}) is fresh


@pytest.mark.parametrize("issued", [None, True, "1999999999"])
def test_a_token_without_a_time_is_not_fresh(issued):
    assert not single_sign_on.is_fresh({"iat": issued})
