"""Names and passwords of accounts: which are fit, and how they are compared and kept."""

import hashlib
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from engine.errors import WorkbenchError
from engine.permissions import ROLES

LONGEST_NAME = 64  # characters
LONGEST_EXTERNAL_NAME = 254  # characters: an identity provider often gives an e-mail address
RESERVED = ("system", "unknown")  # names that the audit gives to others than accounts
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 1024  # characters
DEMONSTRATION = {  # shown on the sign-in page; only where nobody else can reach it
    "clinician": "clinician-demo",
    "administrator": "administrator-demo",
    "auditor": "auditor-demo",
}


def name_key(name: str) -> str:
    """Return a name as it is compared: one spelling for what looks alike but for its case."""
    return unicodedata.normalize("NFKC", name[: LONGEST_EXTERNAL_NAME + 1]).casefold()


def checked_name(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name that an account may have, or raise WorkbenchError."""
    if not (name.isprintable() and name == name.strip() and 0 < len(name) <= longest):
        raise WorkbenchError(
            f"The name of an account: expected 1 to {longest} printable characters, the first and "
            "the last not a space."
        )
    if name_key(name) in RESERVED or name_key(name).startswith("cli:"):
        raise WorkbenchError(f"{name}: the audit uses this name itself; choose another one.")
    return name


def checked_role(role: str) -> str:
    """Return a role that there is, or raise WorkbenchError."""
    if role not in ROLES:
        raise WorkbenchError(f"{role}: no such role; expected one of {', '.join(ROLES)}.")
    return role


def checked_password(password: str, name: str) -> str:
    """Return a password that an account of this name may have, or raise WorkbenchError."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise WorkbenchError(
            f"The password: expected {SHORTEST_PASSWORD} to {LONGEST_PASSWORD:,} characters; "
            "several words are easy to remember and hard to guess."
        )
    if name_key(password) == name_key(name) or password in DEMONSTRATION.values():
        raise WorkbenchError("The password: the first one anybody would try; choose another.")
    return password


def password_hash(hasher: PasswordHasher, password: str) -> str:
    """Return the Argon2id hash of a password, whichever keyboard its letters were typed on."""
    return hasher.hash(_typed(password))


def password_matches(hasher: PasswordHasher, hashed: str | None, password: str) -> bool:
    """Whether a password has this hash; without a hash: no, after as much work."""
    if hashed is None:
        hasher.hash(_typed(password))
        return False
    try:
        return hasher.verify(hashed, _typed(password))
    except (VerificationError, InvalidHashError):
        return False


def token_hash(token: str) -> str:
    """Return what is kept of a session token: its SHA-256 as hex."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _typed(password: str) -> bytes:
    typed = unicodedata.normalize("NFKC", password[: LONGEST_PASSWORD + 1])
    return typed.encode("utf-8", "surrogatepass")
