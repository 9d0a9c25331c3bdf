"""Whether the app may be opened to those who can reach it, and how to mend it where it may not.

    python -m app.opening ADDRESS     # exit code 2 and one line where it may not; before serving

Demonstration accounts, whose passwords stand on the sign-in page, are for one's own machine only.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

from app import single_sign_on
from engine.accounts import Accounts
from engine.audit import Audit
from engine.errors import WorkbenchError
from engine.installation import Installation

PROJECT = Path(__file__).resolve().parent.parent
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")


class NotOpened(WorkbenchError):
    """The app may not be opened as it is; `commands` mend it."""

    def __init__(self, message: str, commands: Sequence[str]) -> None:
        super().__init__(message)
        self.commands = tuple(commands)


def is_loopback(address: str | None) -> bool:
    """Tell whether only this machine reaches a server bound to `address` (None: every network)."""
    if not address:
        return False
    if address == "localhost":
        return True
    try:
        return ip_address(address.strip("[]")).is_loopback
    except ValueError:  # another name, which may mean any address
        return False


def is_forwarded(headers: Mapping[str, str]) -> bool:
    """Tell whether a request came through a proxy, so that more than this machine reaches us."""
    return any(name in headers for name in FORWARDED)


def check(own_machine: bool, accounts: Accounts, single_sign_on: bool) -> None:
    """Raise NotOpened where somebody else could walk in, or nobody could.

    Args:
        own_machine: only this machine reaches the app.
        accounts: those of the installation.
        single_sign_on: the hospital's own accounts are let in by `accounts.yaml`.
    """
    if own_machine:
        return
    demonstration = accounts.demonstration()
    if demonstration:
        raise NotOpened(
            "Demonstration accounts, whose passwords are known to everybody, are still enabled, "
            "and other machines can reach this app. Add your own accounts and disable these.",
            [
                *([] if accounts.configured() else [_users("add NAME --role administrator")]),
                *(_users(f"disable {name}") for name in demonstration),
            ],
        )
    if not accounts.configured() and not single_sign_on:
        raise NotOpened(
            "There is no account yet, and other machines can reach this app. "
            "Add the first account on the server.",
            [_users("add NAME --role administrator")],
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Say on the command line what the app would say; for servers, before they serve."""
    parser = argparse.ArgumentParser(prog="python -m app.opening")
    parser.add_argument("address", metavar="ADDRESS", help="what the server is to be bound to")
    parsed = parser.parse_args(arguments)
    installation = Installation.current()
    accounts = Accounts(installation.database, Audit(installation.database, installation.audit_key))
    try:
        check(is_loopback(parsed.address), accounts, single_sign_on.is_configured())
    except WorkbenchError as error:
        commands = "; ".join(getattr(error, "commands", ()))
        print(f"error: {error}" + (f" Run: {commands}" if commands else ""), file=sys.stderr)
        return 2
    return 0


def _users(arguments: str) -> str:
    """Return a command as it is typed here: `make` installs into .venv, an image does not."""
    python = ".venv/bin/python" if (PROJECT / ".venv").is_dir() else "python"
    return f"{python} -m engine users {arguments}"


if __name__ == "__main__":
    sys.exit(main())
