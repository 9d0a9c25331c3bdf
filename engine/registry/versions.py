"""The versions of an installation: which there are, which is in use, and how that changes.

    registry = Registry(Installation.current())
    registry.champion().version
    registry.promote(actor, "hospital-20261120-dc0ada76", "full-20261101-0a1b2c3d", reason)

A version is a sealed pair in `models/VERSION`, or one that ships in `pretrained/`. It never
changes; what changes is its row in the database. Whoever changes something says which champion
they believe to be in use, so that of two people who act at once one is told about the other.
"""

import json
import os
import shutil
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sqlite_utils import Database

from engine import permissions, store
from engine.audit import Audit
from engine.errors import WorkbenchError
from engine.files import sha256
from engine.installation import Installation
from engine.permissions import SYSTEM, Actor
from engine.registry import aliases, archive, deposits
from engine.registry.aliases import CHAMPION, PRETRAINED, PREVIOUS
from engine.registry.pair import MANIFEST, VERSION, Pair

Status = Literal["champion", "previous", "candidate", "rejected", "retired", "damaged"]
SHORTEST_REASON = 10  # characters
REGISTERED, IMPORTED = "version registered", "version imported"  # in the audit


class Conflict(WorkbenchError):
    """Somebody else changed the champion meanwhile."""


@dataclass(frozen=True)
class Version:
    """A version and where it stands.

    `doubts` are what a promotion must answer for in writing: where the version is clearly worse
    than the champion, or that nobody knows.
    """

    version: str
    folder: Path
    status: Status
    shipped: bool
    created: str  # when it was trained, ISO 8601
    registered_at: str | None
    registered_by: str | None
    reason: str | None  # written at the latest decision about it; what is wrong if it is damaged
    metrics: dict  # on validation
    comparison: dict | None  # with the champion of then, see `engine.evaluation.comparison`
    run: dict  # what `register` was given beside the comparison
    doubts: tuple[str, ...] = ()


class Registry:
    """The versions of one installation; every change is audited with it, or does not happen."""

    def __init__(self, installation: Installation, pretrained: Path = PRETRAINED) -> None:
        self.installation = installation
        self.pretrained = Path(pretrained)
        self._audit = Audit(installation.database, installation.audit_key)

    # ------------------------------------------------------------------ reading

    def versions(self) -> list[Version]:
        """Return every version, the champion first, then the newest; damaged folders last."""
        with aliases.reading(self.installation) as database:
            names, rows = self._read(database)
        known = [self._version(version, rows.get(version), names) for version in rows]
        known += [
            self._version(folder.name, None, names)
            for folder in deposits.folders(self.pretrained)
            if folder.name not in rows and (folder / MANIFEST).is_file()
        ]
        order = (CHAMPION, PREVIOUS)
        known.sort(key=lambda one: one.created, reverse=True)
        known.sort(key=lambda one: order.index(one.status) if one.status in order else 2)
        return known + self._damaged(rows)

    def version(self, version: str) -> Version:
        """Return one version by its name; raises WorkbenchError when there is none."""
        with aliases.reading(self.installation) as database:
            names, rows = self._read(database, version)
        if version not in rows and not self._is_shipped(version):
            raise WorkbenchError(
                f"version {version!r}: not known here; "
                "python -m engine registry list shows those that are"
            )
        return self._version(version, rows.get(version), names)

    def champion(self) -> Version:
        """Return the version in use: one look into the database."""
        with aliases.reading(self.installation) as database:
            champion = aliases.of(database, self.pretrained)[CHAMPION]
            names, rows = self._read(database, champion)
        return self._version(champion, rows.get(champion), names)

    def champion_folder(self) -> Path:
        """Return the folder of the version in use; raises WorkbenchError when it is not whole."""
        return aliases.champion_folder(self.installation, self.pretrained)

    def verify(self, version: str) -> Pair:
        """Check every file of a version against what was sealed and registered.

        Raises WorkbenchError naming the file that is missing, changed or too many.
        """
        self.version(version)
        with aliases.reading(self.installation) as database:
            _, rows = self._read(database, version)
        folder = self.folder(version)
        if problem := aliases.what_is_wrong(folder, self._sealed(version, rows.get(version))):
            raise WorkbenchError(problem)
        return deposits.sound(folder, version)

    def folder(self, version: str) -> Path:
        """Return where a version lies, be it there or not."""
        return aliases.folder_of(version, self.installation, self.pretrained)

    # ------------------------------------------------------------------ adding

    def register(self, actor: Actor | None, pair_folder: Path, run: dict) -> str:
        """Copy a finished pair into the registry as a candidate; return its version.

        Doing it again is harmless. A pair whose name is taken by another one gets a number.

        Args:
            run: what to keep about where it comes from (`run_id`, `requested_by` …); its
                `comparison`, if any, is kept as the version's.
        """
        permissions.require(actor, "retrain")
        version = self.deposit(pair_folder, run)
        deposits.sound(self.folder(version), version)
        self._enter(version, actor, REGISTERED, {})
        return version

    def deposit(self, pair_folder: Path, run: dict) -> str:
        """Put a finished pair where `collect` finds it, without the database; return its version.

        This is for a worker that shares the folder of the installation and nothing else.
        """
        return deposits.deposit(Path(pair_folder), run, self.folder)

    def collect(self) -> list[str]:
        """Register what others have deposited; return the new versions.

        What does not verify is left alone, and `versions` says what is wrong with it.
        """
        with aliases.reading(self.installation) as database:
            _, rows = self._read(database)
        collected = []
        deposits.tidy(self.installation.models)
        for folder in deposits.folders(self.installation.models):
            if folder.name not in rows:
                with suppress(WorkbenchError):
                    self._check_deposited(folder)
                    self._enter(folder.name, SYSTEM, REGISTERED, {})
                    collected.append(folder.name)
        return collected

    def import_(self, actor: Actor | None, path: Path) -> str:
        """Unpack an archive as a candidate; return its version. See `engine.registry.archive`."""
        permissions.require(actor, "import version")
        path = Path(path)
        version = archive.version_of(path)
        if self.folder(version).exists():
            raise WorkbenchError(f"{path}: version {version} is here already; nothing was imported")

        def unpack(building: Path) -> None:
            archive.import_(path, building)
            deposits.sound(building, version)

        folder = self.folder(version)
        deposits.put(folder, unpack, {})
        try:
            self._enter(version, actor, IMPORTED, {"archive": sha256(path)})
        except WorkbenchError:
            shutil.rmtree(folder)
            raise
        return version

    # ------------------------------------------------------------------ deciding

    def promote(
        self, actor: Actor | None, version: str, expected_champion: str, reason: str | None = None
    ) -> None:
        """Put a version in use; the champion becomes the previous one.

        Whoever calls it on behalf of a person has asked for the password again before.

        Raises:
            Conflict: when the champion is not the expected one.
            WorkbenchError: when a file of the version is damaged, or there are `doubts` and no
                reason of ten characters.
        """
        permissions.require(actor, "promote")
        self.verify(version)
        with store.transaction(self.installation.database) as database:
            champion = self._expect(database, expected_champion)
            names, rows = self._read(database, version)
            promoted = self._version(version, rows.get(version), names)
            if version == champion:
                raise WorkbenchError(f"{version}: is the champion already")
            if promoted.doubts and len((reason or "").strip()) < SHORTEST_REASON:
                raise WorkbenchError(
                    f"{version}: {'; '.join(promoted.doubts)}; promote it only with a written "
                    f"reason of at least {SHORTEST_REASON} characters"
                )
            self._point(database, version, champion, reason)
            details = {"version": version, "replaced": champion, "reason": reason}
            details["doubts"] = list(promoted.doubts)
            self._audit.record(database, actor, "version promoted", details)

    def roll_back(
        self, actor: Actor | None, expected_champion: str, reason: str | None = None
    ) -> str:
        """Put the previous version in use again, and return it; the champion becomes previous.

        Raises what `promote` does, without asking for a reason.
        """
        permissions.require(actor, "roll back")
        with aliases.reading(self.installation) as database:
            previous = aliases.of(database, self.pretrained).get(PREVIOUS)
        if previous is None:
            raise WorkbenchError("there is no version before the champion to roll back to")
        self.verify(previous)
        with store.transaction(self.installation.database) as database:
            champion = self._expect(database, expected_champion)
            if aliases.of(database, self.pretrained).get(PREVIOUS) != previous:
                raise Conflict(f"{previous} is no longer the version before; look again")
            self._point(database, previous, champion, reason)
            details = {"version": previous, "replaced": champion, "reason": reason}
            self._audit.record(database, actor, "version rolled back", details)
        return previous

    def reject(self, actor: Actor | None, version: str, reason: str | None = None) -> None:
        """Say that a candidate is not to be used; its files stay.

        Raises WorkbenchError for any other version than a candidate.
        """
        permissions.require(actor, "reject")
        self.version(version)
        with store.transaction(self.installation.database) as database:
            names, rows = self._read(database, version)
            rejected = self._version(version, rows.get(version), names)
            if rejected.status not in ("candidate", "damaged"):
                raise WorkbenchError(f"{version}: is {rejected.status}, and no candidate to reject")
            self._keep_row(database, version)
            database["versions"].update(version, {"status": "rejected", "reason": reason})
            details = {"version": version, "reason": reason}
            self._audit.record(database, actor, "version rejected", details)

    def export(self, actor: Actor | None, version: str, path: Path) -> None:
        """Write a version as an archive, whole or not at all; a file already there is kept.

        Raises WorkbenchError for a damaged version, or when `path` exists.
        """
        permissions.require(actor, "export version")
        self.verify(version)
        path = Path(path)
        if path.exists():
            raise WorkbenchError(f"{path}: exists already; name another file")
        building = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        linked = False
        try:
            archive.export(self.folder(version), building)
            with store.transaction(self.installation.database) as database:
                details = {"version": version, "archive": sha256(building)}
                self._audit.record(database, actor, "version exported", details)
                os.link(building, path)  # fails where somebody else was quicker
                linked = True
        except FileExistsError:
            raise WorkbenchError(f"{path}: exists already; name another file") from None
        except WorkbenchError:  # its row of the audit was not kept
            if linked:
                path.unlink()
            raise
        finally:
            building.unlink(missing_ok=True)

    # ------------------------------------------------------------------ rows

    def _read(
        self, database: Database | None, version: str | None = None
    ) -> tuple[dict[str, str], dict[str, dict]]:
        """Return the aliases, and the rows of one version or of all by their names."""
        rows = []
        if database is not None:
            where = "version = ?" if version else None
            rows = database["versions"].rows_where(where, [version] if version else None)
        return aliases.of(database, self.pretrained), {row["version"]: row for row in rows}

    def _version(self, version: str, row: dict | None, names: dict[str, str]) -> Version:
        folder, shipped = self.folder(version), self._is_shipped(version)
        row = row or {}
        alias = next((alias for alias, named in names.items() if named == version), None)
        status = alias or row.get("status") or "candidate"
        wrong = aliases.what_is_wrong(folder, self._sealed(version, row))
        comparison = json.loads(row.get("comparison") or "null")
        reason = row.get("reason")
        return Version(
            version,
            folder,
            status if alias or not wrong else "damaged",
            shipped,
            row.get("created") or deposits.created(folder),
            row.get("registered_at"),
            row.get("registered_by"),
            wrong or reason,
            json.loads(row["metrics"]) if row.get("metrics") else deposits.metrics(folder),
            comparison,
            json.loads(row.get("run") or "{}"),
            _doubts(status, reason, comparison, names[CHAMPION]),
        )

    def _damaged(self, rows: dict[str, dict]) -> list[Version]:
        """Return what lies among the versions and is none; a whole one waits for `collect`."""
        found = []
        for folder in deposits.folders(self.installation.models):
            if folder.name not in rows:
                try:
                    self._check_deposited(folder)
                except WorkbenchError as error:
                    unknown = (None, None, str(error), {}, None, {})
                    found.append(Version(folder.name, folder, "damaged", False, "", *unknown))
        return found

    def _check_deposited(self, folder: Path) -> None:
        if self._is_shipped(folder.name):
            raise WorkbenchError(f"{folder}: has the name of a shipped version; move it away")
        deposits.sound(folder, folder.name)

    def _is_shipped(self, version: str) -> bool:
        named = VERSION.fullmatch(version)
        return bool(named) and (self.pretrained / version / MANIFEST).is_file()

    def _sealed(self, version: str, row: dict | None) -> str | None:
        """Return the sum a manifest must have; shipped ones change with the program."""
        return None if self._is_shipped(version) else (row or {}).get("manifest")

    def _enter(self, version: str, actor: Actor, action: str, details: dict) -> None:
        """Give a deposited version its row, and tell the audit, unless it has one."""
        origin = deposits.origin(self.folder(version))
        with store.transaction(self.installation.database) as database:
            added = self._keep_row(database, version, actor.name, origin)
            if added or action != REGISTERED:
                whence = {name: origin["run"].get(name) for name in ("run_id", "requested_by")}
                whence = {name: value for name, value in whence.items() if value is not None}
                details = {"version": version, **whence, **details}
                self._audit.record(database, actor, action, details)

    def _keep_row(
        self, database: Database, version: str, by: str = "shipped", origin: dict | None = None
    ) -> bool:
        """Add the row of a version that has none; return whether it had none."""
        if database["versions"].count_where("version = ?", [version]):
            return False
        folder, origin = self.folder(version), origin or {}
        database["versions"].insert(
            {
                "version": version,
                "status": "candidate",
                "created": deposits.created(folder),
                "registered_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "registered_by": by,
                "metrics": json.dumps(deposits.metrics(folder)),
                "comparison": json.dumps(origin.get("comparison")),
                "run": json.dumps(origin.get("run", {})),
                "manifest": sha256(folder / MANIFEST),
            }
        )
        return True

    def _expect(self, database: Database, expected: str) -> str:
        champion = aliases.of(database, self.pretrained)[CHAMPION]
        if champion != expected:
            raise Conflict(
                f"the champion is {champion} now, no longer {expected}: somebody changed it "
                "meanwhile; look at it before you decide"
            )
        return champion

    def _point(self, database: Database, champion: str, previous: str, reason: str | None) -> None:
        """Let the two aliases name these versions."""
        for alias, version in ((CHAMPION, champion), (PREVIOUS, previous)):
            self._keep_row(database, version)
            database["versions"].update(version, {"status": "retired"})  # once no alias names it
            database["aliases"].upsert({"alias": alias, "version": version}, pk="alias")
        database["versions"].update(champion, {"reason": reason})


def _doubts(
    status: str, reason: str | None, comparison: dict | None, champion: str
) -> tuple[str, ...]:
    if status in (CHAMPION, PREVIOUS):
        return ()
    found = [f"it was rejected ({reason or 'no reason given'})"] if status == "rejected" else []
    try:
        compared_with = comparison["champion"]["version"] if comparison else None
        worse = [str(line) for line in comparison["worse_on"]] if comparison else []
    except (KeyError, TypeError):
        compared_with, worse = None, []
    if compared_with is None:
        found.append(f"it was never compared with {champion}, which is in use")
    elif compared_with != champion:
        found.append(f"it was compared with {compared_with}, but {champion} is in use now")
    return (*found, *worse)
