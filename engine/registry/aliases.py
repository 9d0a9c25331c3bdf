"""Which version is in use: the champion, and the one before it.

The aliases are two rows of the installation's database. Until a first promotion there are none,
and the champion is the one that `pretrained/aliases.json` ships with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from engine import store
from engine.errors import WorkbenchError
from engine.files import read_json, sha256
from engine.installation import Installation

PRETRAINED = Path("pretrained")
CHAMPION, PREVIOUS = "champion", "previous"


def champion_folder(installation: Installation, pretrained: Path) -> Path:
    """Return the folder of the pair in use.

    Raises WorkbenchError when there is none, its folder is gone, or is not what was registered.
    """
    sealed = None
    with reading(installation) as database:
        version = of(database, pretrained)[CHAMPION]
        if database is not None:
            query = "SELECT manifest FROM versions WHERE version = ?"
            sealed = (database.execute(query, [version]).fetchone() or (None,))[0]
    folder = folder_of(version, installation, pretrained)
    if problem := what_is_wrong(folder, sealed):
        raise WorkbenchError(
            f"{problem}; or put another version in use: python -m engine registry promote VERSION"
        )
    return folder


@contextmanager
def reading(installation: Installation) -> Iterator[Database | None]:
    """Give the database to read from; None where there is none yet, for reading makes no file."""
    if not installation.database.exists():
        yield None
        return
    with store.opened(installation.database) as database:
        yield database


def of(database: Database | None, pretrained: Path) -> dict[str, str]:
    """Return alias → version: `CHAMPION` and, after a promotion, `PREVIOUS`."""
    rows = {}
    if database is not None:
        rows = dict(database.execute("SELECT alias, version FROM aliases"))
    return rows if CHAMPION in rows else {CHAMPION: _shipped_champion(pretrained)}


def folder_of(version: str, installation: Installation, pretrained: Path) -> Path:
    """Return where a version lies: with the program, or else in the installation."""
    shipped = pretrained / version
    return shipped if shipped.is_dir() else installation.models / version


def what_is_wrong(folder: Path, sealed: str | None) -> str | None:
    """Say what can be seen to be wrong with a version without reading its weights.

    Args:
        sealed: SHA-256 that its manifest had when it was registered; None if it never was.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return f"{folder}: the version's files are not there; put its folder back from a copy"
    if sealed is not None and sha256(manifest) != sealed:
        return f"{manifest}: is not the one that was registered; put the folder back from a copy"
    return None


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
