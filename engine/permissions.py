"""Who may do what: one table, asked by every action itself and not only by the menu."""

import getpass
from dataclasses import dataclass
from typing import Literal, get_args

from engine.errors import WorkbenchError

Role = Literal["clinician", "administrator", "auditor"]
ROLES: tuple[Role, ...] = get_args(Role)

CLINICIAN = frozenset({"clinician"})
ADMINISTRATOR = frozenset({"administrator"})
AUDITOR = frozenset({"auditor"})

ACTIONS: dict[str, frozenset[str]] = {
    "find patients": CLINICIAN | ADMINISTRATOR,
    "recommend": CLINICIAN | ADMINISTRATOR,
    "decide": CLINICIAN,
    "see performance": CLINICIAN | ADMINISTRATOR | AUDITOR,
    "see data quality": ADMINISTRATOR,
    "retrain": ADMINISTRATOR,
    "cancel run": ADMINISTRATOR,
    "promote": ADMINISTRATOR,
    "reject": ADMINISTRATOR,
    "roll back": ADMINISTRATOR,
    "export version": ADMINISTRATOR,
    "import version": ADMINISTRATOR,
    "manage accounts": ADMINISTRATOR,
    "read audit": AUDITOR | ADMINISTRATOR,
    "export audit": AUDITOR | ADMINISTRATOR,
}


class NotAllowed(WorkbenchError):
    """Somebody without the role, or nobody, asked for an action."""


@dataclass(frozen=True)
class Actor:
    """Who acts: the owner of a session, or `system`, which is allowed everything."""

    name: str
    role: Role | Literal["system"]


SYSTEM = Actor("system", "system")


def command_line() -> Actor:
    """Return who types commands on the server: they own the files, and are audited by name."""
    return Actor(f"cli:{getpass.getuser()}", "system")


def allowed(actor: Actor | None, action: str) -> bool:
    """Whether somebody, or nobody (None), may do one of `ACTIONS`."""
    roles = ACTIONS[action]
    return actor is not None and (actor.role == "system" or actor.role in roles)


def require(actor: Actor | None, action: str) -> None:
    """Raise NotAllowed unless `actor` may do `action`, one of `ACTIONS`."""
    if allowed(actor, action):
        return
    roles = " or ".join(sorted(ACTIONS[action]))
    if actor is None:
        raise NotAllowed(f"{action}: nobody is signed in; sign in as {roles}.")
    raise NotAllowed(f"{action}: not allowed for the role {actor.role}; ask for the role {roles}.")
