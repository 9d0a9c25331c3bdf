"""The two files of the audit that lie outside its database: `audit.key` and `audit.head`.

The key seals every row. The head is one line with the number and HMAC of the last row: it is
changed in place, under a lock and only forward, so that it costs next to nothing and a full disk
cannot stop it. A process that dies before it is moved leaves it older than the table, which is
harmless: nobody without the key can have added the rows in between.
"""

import fcntl
import logging
import os
import re
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import WorkbenchError

BEFORE_THE_FIRST = "0" * 64  # stands for the HMAC of the row before the first
HEAD = re.compile(r"(\d{20}) ([0-9a-f]{64})\n")
PUT_BACK = "put it back from a copy of the installation's folder"


class AuditKey:
    """The key file, and the head beside it."""

    def __init__(self, key_file: Path) -> None:
        self.key_file = key_file
        self.head_file = key_file.with_name("audit.head")

    def key(self, make: bool) -> bytes:
        """Return the 32 bytes; `make` them, with a head before the first row, where none are.

        Raises WorkbenchError naming the file when it is missing, unreadable or no key.
        """
        try:
            text = self.key_file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            if not make:
                raise WorkbenchError(
                    f"{self.key_file}: not found, though the audit has rows sealed with it; "
                    f"{PUT_BACK}."
                ) from None
            try:
                self._make()
            except OSError as error:
                raise WorkbenchError(
                    f"{self.key_file}: cannot be made ({error}); let this user write to its "
                    "folder, and free some disk space."
                ) from error
            text = self.key_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise WorkbenchError(
                f"{self.key_file}: cannot be read ({error}); {PUT_BACK}."
            ) from error
        if not re.fullmatch("[0-9a-f]{64}", text):
            raise WorkbenchError(f"{self.key_file}: expected 64 hex digits; {PUT_BACK}.")
        return bytes.fromhex(text)

    def head(self) -> tuple[int, str] | None:
        """Return number and HMAC of the last row that was ever written; None without the file.

        Raises WorkbenchError naming the file when it cannot be read and written, or is no head.
        """
        try:
            with _locked(self.head_file) as handle:
                return self._read(handle)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WorkbenchError(
                f"{self.head_file}: cannot be written ({error}); let this user write to it."
            ) from error

    def move_head(self, number: int, sealed: str) -> None:
        """Write down the last row; an older one than is known is ignored, as is a missing file.

        The row is committed already: a failure is logged, and mended by the next row.
        """
        try:
            with _locked(self.head_file) as handle:
                if self._read(handle)[0] < number:
                    os.pwrite(handle, _line(number, sealed), 0)
        except FileNotFoundError:
            return
        except (OSError, WorkbenchError) as error:
            logging.getLogger(__name__).warning("%s: not written: %s", self.head_file, error)

    def make_head(self, number: int, sealed: str) -> None:
        """Write a new head: the end of the table is taken as it stands."""
        _write_private(self.head_file, _line(number, sealed), replace=True)

    def readable_by_others(self) -> bool:
        """Whether other users of this machine can read the key, and so forge rows."""
        return self.key_file.exists() and bool(self.key_file.stat().st_mode & 0o077)

    def _make(self) -> None:
        self.key_file.parent.mkdir(parents=True, exist_ok=True)
        if not self.head_file.exists():
            _write_private(self.head_file, _line(0, BEFORE_THE_FIRST), replace=False)
        _write_private(self.key_file, secrets.token_hex(32).encode() + b"\n", replace=False)

    def _read(self, handle: int) -> tuple[int, str]:
        matched = HEAD.fullmatch(os.pread(handle, 200, 0).decode("ascii", "replace"))
        if not matched:
            raise WorkbenchError(
                f"{self.head_file}: expected the number and the HMAC of a row; {PUT_BACK}."
            )
        return int(matched[1]), matched[2]


def _line(number: int, sealed: str) -> bytes:
    return f"{number:020d} {sealed}\n".encode()


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _write_private(path: Path, content: bytes, replace: bool) -> None:
    """Write a file that only this user may read; unless `replace`, whoever was first wins."""
    building = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    handle = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            building.replace(path)
        else:
            try:
                os.link(building, path)
            except FileExistsError:
                return
    finally:
        building.unlink(missing_ok=True)
