"""Signing in with the hospital's own accounts, over OpenID Connect.

Streamlit speaks to the issuer (`[auth]` in `.streamlit/secrets.toml`) and gives the claims of the
identity token it has checked; `accounts.yaml` in the installation's folder says which of the
issuer's groups may do what here:

    issuer: https://login.hospital.example/realms/staff
    groups_claim: groups           # or a path, such as realm_access.roles
    name_claim: preferred_username
    roles:                         # the first line that fits counts
      workbench-administrators: administrator
      workbench-auditors: auditor
      workbench-clinicians: clinician
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import streamlit as st
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import WorkbenchError

FILE = "accounts.yaml"
LONGEST = 12 * 3600  # seconds after the issuer's word before it has to be given again
CLOCKS_APART = 120  # seconds by which the issuer's clock may be ahead


class Settings(BaseModel):
    """Whom the issuer vouches for, and what they may do here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(min_length=1)
    groups_claim: str = Field("groups", min_length=1)
    name_claim: str = Field("preferred_username", min_length=1)
    roles: dict[str, Literal["clinician", "administrator", "auditor"]] = Field(min_length=1)


class NotAdmitted(WorkbenchError):
    """The issuer knows this person, but the workbench does not let them in; `name` is theirs."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


def is_configured() -> bool:
    """Tell whether `[auth]` stands in Streamlit's secrets."""
    try:
        return "auth" in st.secrets
    except FileNotFoundError:  # no file of secrets, which most installations have no need of
        return False


def load(folder: Path) -> Settings:
    """Read the settings of an installation; WorkbenchError names the file and the field."""
    path = folder / FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkbenchError(
            f"{path}: not found; single sign-on needs it: `issuer`, and `roles` that map the "
            "issuer's groups to clinician, administrator or auditor"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise WorkbenchError(f"{path}: cannot be read as YAML ({reason})") from None
    if not isinstance(content, dict):
        raise WorkbenchError(f"{path}: expected the fields 'issuer' and 'roles'")
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise WorkbenchError(f"{path}: field '{field}': {first['msg']}; mend it there") from None


def admitted(claims: Mapping, settings: Settings) -> tuple[str, str]:
    """Return the name and role of a person by the claims of their identity token.

    Raises NotAdmitted when the claims are another issuer's, have no name, or hold no group with a
    role.
    """
    name = claims.get(settings.name_claim)
    if not isinstance(name, str) or not name.strip():
        raise NotAdmitted(
            f"The identity token has no claim '{settings.name_claim}'; name another one as "
            f"name_claim in {FILE}",
            "unknown",
        )
    name = name.strip()
    if claims.get("iss") != settings.issuer:
        raise NotAdmitted(f"The identity token is not from the issuer named in {FILE}", name)
    groups = _groups(claims, settings.groups_claim)
    for group, role in settings.roles.items():
        if group in groups:
            return name, role
    raise NotAdmitted("None of your groups has a role in this workbench", name)


def is_fresh(claims: Mapping) -> bool:
    """Tell whether the issuer vouched for this person lately; Streamlit's cookie lives longer."""
    issued = claims.get("iat")
    if isinstance(issued, bool) or not isinstance(issued, int | float):
        return False
    return -CLOCKS_APART <= time.time() - issued < LONGEST


def _groups(claims: Mapping, path: str) -> frozenset[str]:
    """Return the groups at a claim or, where no claim has that name, at a path of claims."""
    found = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return frozenset([found])
    if not isinstance(found, list | tuple):
        return frozenset()
    return frozenset(group for group in found if isinstance(group, str))
