"""Files and folders that appear whole or not at all, and the sums they are known by."""

import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import WorkbenchError

LEFT_BEHIND = 60  # seconds without a change, after which an unlocked partial folder is nobody's


@contextmanager
def whole_folder(target: Path, replace: bool = True) -> Iterator[Path]:
    """Give a temporary sibling that becomes `target` if all goes well and vanishes if not.

    A folder already at `target` stays until the new one is whole. Everything in the new one may
    be read by others, as a server's own user must. What a killed process left half-written beside
    the same target is removed first; what a living one is writing is not.

    Args:
        replace: what to do with a folder already at `target`: take its place, or raise OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_left_behind(target.parent, target.name)
    mark = uuid.uuid4().hex[:8]
    folder = target.with_name(f".{target.name}.{mark}.partial")
    former = target.with_name(f".{target.name}.{mark}.former")
    folder.mkdir()
    held = _lock(folder)
    try:
        yield folder
        for file in folder.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)  # safetensors writes 0600
        if replace and target.exists():
            target.rename(former)
        try:
            folder.rename(target)  # which fails where there still is one
        except OSError:
            if former.exists():
                former.rename(target)
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if target.exists():
            shutil.rmtree(former, ignore_errors=True)
        if held is not None:
            os.close(held)


def clear_left_behind(parent: Path, name: str) -> None:
    """Tidy up after dead processes that were making the folder `name` in `parent`.

    Their partial folders are removed, and what one had moved aside for its own is put back.
    """
    target = parent / name
    for sibling in list(parent.iterdir()):
        if not sibling.name.startswith(f".{name}."):
            continue
        try:
            # A new folder is not locked for a moment: what the last minute changed is left alone.
            if time.time() - sibling.stat().st_ctime < LEFT_BEHIND:
                continue
            if sibling.suffix == ".partial" and (held := _lock(sibling)) is not None:
                shutil.rmtree(sibling, ignore_errors=True)
                os.close(held)
            elif sibling.suffix == ".former" and not target.exists():
                sibling.rename(target)
            elif sibling.suffix == ".former":
                shutil.rmtree(sibling, ignore_errors=True)
        except FileNotFoundError:
            continue  # another process was quicker


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place and rename it there."""
    building = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        building.write_text(text, encoding="utf-8")
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)


def write_json(path: Path, content: dict) -> None:
    """Write JSON as `write_text` does."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path, mend: str) -> dict:
    """Read a JSON object; WorkbenchError naming the file and how to `mend` it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkbenchError(f"{path}: not found; {mend}") from None
    except (OSError, ValueError):
        raise WorkbenchError(f"{path}: cannot be read as JSON; {mend}") from None
    if not isinstance(content, dict):
        raise WorkbenchError(f"{path}: expected a JSON object; {mend}")
    return content


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lock(folder: Path) -> int | None:
    """Lock a folder for as long as this process lives; None where that cannot be had."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody else has it, or the file system knows no locks
        os.close(handle)
        return None
    return handle
