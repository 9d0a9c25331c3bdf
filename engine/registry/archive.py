"""A version as one file, `VERSION.tar.gz`, to carry to another installation.

    export(folder, path)       seal → archive; the same folder gives the same bytes
    import_(path, folder)      archive → an empty folder, checked in full

An archive holds `VERSION/manifest.json` and exactly the files that the manifest names. What comes
in is untrusted: nothing is unpacked under a name of its own choosing before that name is checked,
no link, device or program is accepted, and what is unpacked cannot outgrow its limits.
"""

import gzip
import io
import json
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import yaml
from safetensors import SafetensorError, safe_open

from engine.errors import WorkbenchError
from engine.files import sha256
from engine.registry.pair import MANIFEST, VERSION

MEGABYTE = 2**20
LARGEST = 2048 * MEGABYTE  # of everything, unpacked
LARGEST_FILE = {  # by ending: no other is accepted
    ".safetensors": LARGEST,
    ".json": 64 * MEGABYTE,
    ".yaml": MEGABYTE,
    ".md": 16 * MEGABYTE,
    ".txt": 64 * MEGABYTE,
}
MOST_FILES = 200
CHUNK = MEGABYTE  # read at once; nothing within an archive may ask for more
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")  # of a path
# What an adapter's configuration may not fill in, since PEFT would follow it to code or files.
FOLLOWED = ("auto_mapping", "megatron_config", "corda_config", "eva_config", "loftq_config")
ORDINARY = (tarfile.REGTYPE, tarfile.AREGTYPE)


def export(folder: Path, path: Path) -> None:
    """Write the version in `folder`, which was checked before, as an archive at `path`."""
    names = [MANIFEST, *sorted(json.loads((folder / MANIFEST).read_text())["files"])]
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in names:
            member = tarfile.TarInfo(f"{folder.name}/{name}")
            member.size = (folder / name).stat().st_size
            member.mode = 0o644
            with (folder / name).open("rb") as file:
                archive.addfile(member, file)


def version_of(path: Path) -> str:
    """Return the version that an archive says it holds: the folder of its first file."""
    with _opened(path) as archive:
        return _first_part(path, archive.next())


def import_(path: Path, folder: Path) -> None:
    """Unpack an archive into an empty `folder`, and check every file against the manifest.

    Raises:
        WorkbenchError: naming the archive, the file in it, and what is wrong. What was unpacked
            until then is for the caller to remove, as `whole_folder` does.
    """
    with _opened(path) as archive:
        _unpack(path, archive, folder)
    _check_sums(path, folder)
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            _check_content(path, file, file.relative_to(folder).as_posix())


# ---------------------------------------------------------------- unpacking


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with (
            path.open("rb") as raw,
            gzip.GzipFile(fileobj=raw, mode="rb") as unpacked,
            tarfile.open(fileobj=_Bounded(path, unpacked), mode="r:") as archive,
        ):
            yield archive
    except (FileNotFoundError, IsADirectoryError):
        raise WorkbenchError(
            f"{path}: no such file; expected an archive that `registry export` wrote"
        ) from None
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError):
        raise WorkbenchError(
            f"{path}: cannot be read as a .tar.gz archive; it is damaged or cut short: "
            "export the version again"
        ) from None


class _Bounded(io.RawIOBase):
    """What comes out of the compression, up to the limits and in pieces of a bearable size."""

    def __init__(self, path: Path, unpacked: BinaryIO) -> None:
        super().__init__()
        self._path = path
        self._unpacked = unpacked

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > CHUNK:
            raise _refused(self._path, "holds a file name or header of more than 1 MB")
        self._limit(self._unpacked.tell() + size)
        return self._unpacked.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._limit(offset)
        return self._unpacked.seek(offset, whence)

    def tell(self) -> int:
        return self._unpacked.tell()

    def _limit(self, position: int) -> None:
        if position > LARGEST + MOST_FILES * CHUNK:
            raise _refused(self._path, f"is larger than {_gigabytes(LARGEST)} when unpacked")


def _unpack(path: Path, archive: tarfile.TarFile, folder: Path) -> None:
    version = None
    seen: set[str] = set()
    total = 0
    while (member := archive.next()) is not None:
        version = version or _first_part(path, member)
        name = _safe_name(path, member, version)
        if name.lower() in seen:
            raise _refused(path, f"holds {_shown(member.name)} twice")
        seen.add(name.lower())
        if len(seen) > MOST_FILES:
            raise _refused(path, f"holds more than {MOST_FILES} files")
        total += member.size
        if total > LARGEST:
            raise _refused(path, f"is larger than {_gigabytes(LARGEST)} when unpacked")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.extractfile(member) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file, CHUNK)
        archive.members = []  # tarfile would remember every one
    if version is None:
        raise _refused(path, "is empty")


def _first_part(path: Path, member: tarfile.TarInfo | None) -> str:
    if member is None:
        raise _refused(path, "is empty")
    version, slash, _ = member.name.partition("/")
    if not slash or not VERSION.fullmatch(version):
        _safe_name(path, member, version)  # which may know better what is wrong
        raise _refused(path, f"begins with {_shown(member.name)}, not with VERSION/{MANIFEST}")
    return version


def _safe_name(path: Path, member: tarfile.TarInfo, version: str) -> str:
    """Return the name of a file within its version's folder, if everything about it is ordinary."""
    shown = _shown(member.name)
    if member.type not in ORDINARY or member.sparse is not None or member.size < 0:
        raise _refused(path, f"{shown} is a {_kind(member)}, not an ordinary file")
    if member.name.startswith("/"):
        raise _refused(path, f"{shown} is an absolute path")
    parts = member.name.split("/")
    if ".." in parts:
        raise _refused(path, f"{shown} leads out of its folder")
    if parts[0] != version or len(parts) < 2:
        raise _refused(path, f"{shown} is not in the folder {_shown(version)} as the files before")
    if len(parts) > 4 or not all(PART.fullmatch(part) for part in parts[1:]):
        raise _refused(path, f"{shown} is not a name that a version's file may have")
    ending = Path(parts[-1]).suffix
    if ending not in LARGEST_FILE:
        allowed = ", ".join(LARGEST_FILE)
        raise _refused(path, f"{shown} is of a kind that is not accepted; only {allowed} are")
    if member.size > LARGEST_FILE[ending]:
        raise _refused(path, f"{shown} is too large ({member.size / MEGABYTE:,.0f} MB)")
    return "/".join(parts[1:])


def _kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "link"
    if member.isdir():
        return "folder"
    return "device" if member.isdev() else "special file"


# ---------------------------------------------------------------- checking


def _check_sums(path: Path, folder: Path) -> None:
    """Compare what was unpacked with its manifest: no file more, no file less, no byte changed."""
    if not (folder / MANIFEST).is_file():
        raise _refused(path, f"has no {MANIFEST}")
    _check_content(path, folder / MANIFEST, MANIFEST)
    try:
        sums = dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"])
    except (ValueError, KeyError, TypeError):
        raise _refused(path, f"its {MANIFEST} is not a version's") from None
    there = {
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
    } - {MANIFEST}
    for name in sorted(there - sums.keys()):
        raise _refused(path, f"{name} is not in its {MANIFEST}")
    for name in sorted(sums.keys() - there):
        raise _refused(path, f"{_shown(name)} is in its {MANIFEST} but not in the archive")
    for name in sorted(there):
        if sha256(folder / name) != sums[name]:
            raise _refused(path, f"{name} does not have the SHA-256 in its {MANIFEST}")


def _check_content(path: Path, file: Path, name: str) -> None:
    """See that a file is what its name says, before anything else reads it."""
    try:
        if file.suffix == ".safetensors":
            with safe_open(str(file), framework="np"):
                return
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            content = json.loads(text)
            if file.name == "adapter_config.json":
                _check_adapter(path, content, name)
        elif file.suffix == ".yaml":
            yaml.safe_load(text)
    except (SafetensorError, UnicodeDecodeError, ValueError, RecursionError, yaml.YAMLError):
        raise _refused(path, f"{name} is not the {file.suffix[1:]} file it is called") from None


def _check_adapter(path: Path, content: object, name: str) -> None:
    if not isinstance(content, dict) or content.get("peft_type") != "LORA":
        raise _refused(path, f"{name} is not the configuration of a LoRA adapter")
    for field in FOLLOWED:
        if content.get(field):
            raise _refused(path, f"{name}: field '{field}' is filled in, which no version needs")


def _refused(path: Path, reason: str) -> WorkbenchError:
    return WorkbenchError(f"{path}: {reason}; nothing was imported")


def _shown(name: str) -> str:
    """Return an untrusted name as one short line."""
    return ascii(name if len(name) <= 100 else f"{name[:100]}…")


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.0f} GB"
