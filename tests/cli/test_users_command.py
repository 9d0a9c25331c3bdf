"""`engine users`: accounts from the server's command line."""

import getpass
import io

import pytest

from engine.cli import main
from engine.installation import Installation
from engine.permissions import SYSTEM
from tests.installations import PASSWORD, accounts_in, audit_in


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of an installation without accounts."""
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def users(monkeypatch, capsys):
    """Run a command with something in its input; return its exit code and what it said."""

    def run(*words: str, typed: str = PASSWORD + "\n") -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = main(["users", *words])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def add(users, name: str, role: str = "administrator", typed: str = PASSWORD + "\n"):
    return users("add", name, "--role", role, "--password-stdin", typed=typed)


def test_an_account_is_added_and_signs_in(users, folder):
    assert add(users, "Dr Alvarez", "clinician") == (0, "added: Dr Alvarez, clinician\n")
    assert accounts_in(folder).sign_in("Dr Alvarez", PASSWORD).actor.role == "clinician"
    added = audit_in(folder).rows(SYSTEM)[1]
    assert (added.account, added.action) == (f"cli:{getpass.getuser()}", "account added")


def test_a_password_of_another_system_keeps_all_but_its_line_end(users, folder):
    add(users, "Dr Alvarez", typed="  spaces are kept  \r\nnot this line")
    assert accounts_in(folder).sign_in("Dr Alvarez", "  spaces are kept  ")


def test_every_account_is_listed(users, folder):
    assert "no account yet" in users("list")[1]
    accounts_in(folder).make_demonstration()
    add(users, "Dr Alvarez")
    users("disable", "auditor")
    accounts_in(folder).sign_in_external("sato@hospital.example", "clinician")
    lines = users("list")[1].splitlines()
    states = {line.split("  ")[0]: line[lines[0].index("state") :] for line in lines[1:]}
    assert states == {
        "administrator": "demonstration",
        "auditor": "disabled, demonstration",
        "clinician": "demonstration",
        "Dr Alvarez": "enabled",
        "sato@hospital.example": "identity provider",
    }


def test_role_disable_and_reset(users, folder):
    add(users, "Chief")
    add(users, "Dr Alvarez", "clinician")
    assert users("role", "dr alvarez", "auditor")[0] == 0
    assert users("disable", "Dr Alvarez") == (0, "disabled: Dr Alvarez\n")
    assert users("reset", "Dr Alvarez", "--password-stdin", typed="another horse battery")[0] == 0
    assert (
        accounts_in(folder).sign_in("Dr Alvarez", "another horse battery").actor.role == "auditor"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("disable", "Nobody"), "Nobody: there is no such account"),
        (("disable", "Chief"), "last administrator cannot be disabled"),
        (("role", "Chief", "clinician"), "last administrator cannot be made clinician"),
        (("add", "CHIEF", "--role", "auditor", "--password-stdin"), "there is an account named"),
    ],
)
def test_what_cannot_be_done_is_one_line(users, words, said):
    add(users, "Chief")
    code, printed = users(*words)
    assert code == 2
    assert printed.startswith("error: ")
    assert said in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize("typed", ["", "\n", "short\n"])
def test_a_short_password_is_refused(users, folder, typed):
    code, printed = add(users, "Chief", typed=typed)
    assert (code, "12 to 1,024 characters" in printed) == (2, True)
    assert accounts_in(folder).everyone(SYSTEM) == []


def test_without_a_terminal_the_password_must_be_given_in_the_input(users):
    code, printed = users("add", "Chief", "--role", "administrator")
    assert (code, "--password-stdin" in printed) == (2, True)


class Terminal(io.StringIO):
    """An input that somebody sits at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answers", "code"), [([PASSWORD, PASSWORD], 0), ([PASSWORD, "another one, long"], 2), ([], 2)]
)
def test_at_a_terminal_it_is_asked_for_twice_and_not_shown(
    monkeypatch, capsys, folder, answers, code
):
    def answer(prompt: str) -> str:
        if not answers:
            raise EOFError
        return answers.pop(0)

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", answer)
    assert main(["users", "add", "Chief", "--role", "administrator"]) == code
    printed = capsys.readouterr()
    assert PASSWORD not in printed.out + printed.err
    assert len(accounts_in(folder).everyone(SYSTEM)) == (code == 0)


def test_a_password_is_never_an_argument(capsys):
    with pytest.raises(SystemExit):
        main(["users", "add", "Chief", "--role", "administrator", "--password", PASSWORD])
    assert not Installation.current().database.exists()
