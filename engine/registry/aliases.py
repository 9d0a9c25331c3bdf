"""Which version is in use: the champion, and the one before it.

The aliases are two rows of the installation's database. Until a first promotion there are none,
and the champion is the one that `pretrained/aliases.json` ships with.
"""

from pathlib import Path

from sqlite_utils import Database

from engine import store
from engine.errors import WorkbenchError
from engine.files import read_json
from engine.installation import Installation

CHAMPION, PREVIOUS = "champion", "previous"


def champion_folder(installation: Installation, pretrained: Path) -> Path:
    """Return the folder of the pair in use.

    Raises WorkbenchError when there is none, or its folder is gone.
    """
    version = current(installation, pretrained)[CHAMPION]
    folder = folder_of(version, installation, pretrained)
    if not folder.is_dir():
        raise WorkbenchError(
            f"{folder}: the champion is not there; put its folder back, "
            "or put another version in use: python -m engine registry promote VERSION"
        )
    return folder


def current(installation: Installation, pretrained: Path) -> dict[str, str]:
    """Return alias → version: `CHAMPION` and, after a promotion, `PREVIOUS`."""
    if not installation.database.exists():  # reading alone makes no file
        return of(None, pretrained)
    with store.opened(installation.database) as database:
        return of(database, pretrained)


def of(database: Database | None, pretrained: Path) -> dict[str, str]:
    """Return what `current` does from an open database."""
    rows = {}
    if database is not None:
        rows = dict(database.execute("SELECT alias, version FROM aliases"))
    return rows if CHAMPION in rows else {CHAMPION: _shipped_champion(pretrained)}


def folder_of(version: str, installation: Installation, pretrained: Path) -> Path:
    """Return where a version lies: with the program, or else in the installation."""
    shipped = pretrained / version
    return shipped if shipped.is_dir() else installation.models / version


def _shipped_champion(pretrained: Path) -> str:
    aliases = pretrained / "aliases.json"
    content = read_json(
        aliases,
        "start in the project's folder, or name a pair (--models; WORKBENCH_MODELS for the app)",
    )
    name = content.get("champion")
    if not isinstance(name, str) or not name:
        raise WorkbenchError(f'{aliases}: expected JSON such as {{"champion": "NAME"}}')
    return name
