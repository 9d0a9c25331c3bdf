"""`python -m engine users add|list|role|disable|reset`: the accounts of the installation.

Whoever may type commands on the server owns its files, and is audited as `cli:NAME`.
"""

import argparse
import getpass
import sys

from engine.errors import WorkbenchError
from engine.permissions import ROLES, command_line


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "users",
        help="accounts: add, list, change role, disable, reset",
        description="Accounts of the installation named by WORKBENCH_DATA (default: data). A "
        "password is asked for, or read from the first line of the input; never an argument.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    adding = actions.add_parser("add", help="add an account")
    adding.add_argument("name", metavar="NAME")
    adding.add_argument("--role", required=True, choices=ROLES)
    _takes_password(adding)
    adding.set_defaults(run=add)

    listing = actions.add_parser("list", help="list every account")
    listing.set_defaults(run=show)

    role = actions.add_parser("role", help="give an account another role; its sessions end")
    role.add_argument("name", metavar="NAME")
    role.add_argument("role", choices=ROLES, metavar="ROLE", help=", ".join(ROLES))
    role.set_defaults(run=change_role)

    disabling = actions.add_parser("disable", help="disable an account; its sessions end")
    disabling.add_argument("name", metavar="NAME")
    disabling.set_defaults(run=disable)

    resetting = actions.add_parser(
        "reset",
        help="a new password; the account is unlocked and enabled, its sessions end",
    )
    resetting.add_argument("name", metavar="NAME")
    _takes_password(resetting)
    resetting.set_defaults(run=reset)


def add(arguments: argparse.Namespace) -> int:
    accounts = _accounts()
    password = _password(arguments)
    account = accounts.add(command_line(), arguments.name, arguments.role, password)
    print(f"added: {account.name}, {account.role}")
    return 0


def show(arguments: argparse.Namespace) -> int:
    everyone = _accounts().everyone(command_line())
    if not everyone:
        print("no account yet; add one with: users add NAME --role administrator")
        return 0
    width = max(len("name"), *(len(account.name) for account in everyone))
    print(f"{'name':{width}}  {'role':13}  {'last sign-in (UTC)':19}  state")
    for account in everyone:
        seen = (account.last_sign_in or "never")[:19].replace("T", " ")
        print(f"{account.name:{width}}  {account.role:13}  {seen:19}  {_state(account)}")
    return 0


def change_role(arguments: argparse.Namespace) -> int:
    _accounts().change_role(command_line(), arguments.name, arguments.role)
    print(f"{arguments.name}: {arguments.role} from the next sign-in on")
    return 0


def disable(arguments: argparse.Namespace) -> int:
    _accounts().disable(command_line(), arguments.name)
    print(f"disabled: {arguments.name}")
    return 0


def reset(arguments: argparse.Namespace) -> int:
    accounts = _accounts()
    accounts.reset(command_line(), arguments.name, _password(arguments))
    print(f"reset: {arguments.name} may sign in with the new password")
    return 0


def _accounts():
    from engine.accounts import Accounts
    from engine.audit import Audit
    from engine.installation import Installation

    installation = Installation.current()
    return Accounts(installation.database, Audit(installation.database, installation.audit_key))


def _state(account) -> str:
    marks = {
        "disabled": account.disabled,
        "demonstration": account.demonstration,
        "identity provider": account.external,
    }
    return ", ".join(mark for mark, holds in marks.items() if holds) or "enabled"


def _takes_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-stdin",
        action="store_true",
        help="read the password from the first line of the input",
    )


def _password(arguments: argparse.Namespace) -> str:
    if arguments.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise WorkbenchError(
            "The password: there is no terminal to ask at; give it in the first line of the input, "
            "with --password-stdin."
        )
    try:
        password = getpass.getpass(f"Password for {arguments.name}: ")
        again = getpass.getpass("Once more: ")
    except EOFError:
        raise WorkbenchError("The password: none was given; nothing was changed.") from None
    if password != again:
        raise WorkbenchError("The password: the two differ; nothing was changed. Try again.")
    return password
