"""Archives: what goes out comes in unchanged, and nothing else ever does."""

import gzip
import io
import json
import sqlite3
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from engine import store
from engine.errors import WorkbenchError
from engine.installation import Installation
from engine.permissions import SYSTEM
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.registry import archive
from engine.registry.versions import Registry
from tests.registry.conftest import CANDIDATE, SHIPPED


@pytest.fixture
def exported(registry, candidate, tmp_path) -> Path:
    registry.export(SYSTEM, candidate, tmp_path / "version.tar.gz")
    return tmp_path / "version.tar.gz"


@pytest.fixture
def elsewhere(registry, tmp_path) -> Registry:
    """Another installation, with the same shipped champion."""
    return Registry(Installation(tmp_path / "elsewhere"), registry.pretrained)


def read(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}


def write(path: Path, contents: dict[str, bytes], *more: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as opened:
        for name, content in contents.items():
            opened.addfile(ordinary(name, content), io.BytesIO(content))
        for member, content in more:
            opened.addfile(member, io.BytesIO(content))
    return path


def ordinary(name: str, content: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member


def sealed(contents: dict[str, bytes]) -> dict[str, bytes]:
    """Let the manifest name exactly these contents, as somebody hostile can."""
    manifest = json.loads(contents[f"{CANDIDATE}/manifest.json"])
    manifest["files"] = {
        name.split("/", 1)[1]: sha256(content).hexdigest()
        for name, content in contents.items()
        if not name.endswith("/manifest.json")
    }
    return contents | {f"{CANDIDATE}/manifest.json": json.dumps(manifest).encode()}


def refused(registry: Registry, path: Path) -> str:
    """Import what must be refused; nothing of it may stay."""
    outside = {file for file in path.parent.rglob("*") if "elsewhere" not in file.parts}
    with pytest.raises(WorkbenchError) as error:
        registry.import_(SYSTEM, path)
    said = str(error.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    models = registry.installation.models
    assert not models.is_dir() or list(models.iterdir()) == []
    assert [version.version for version in registry.versions()] == [SHIPPED]
    assert outside == {file for file in path.parent.rglob("*") if "elsewhere" not in file.parts}
    return said


def test_what_was_exported_answers_the_same_elsewhere(exported, registry, elsewhere, tiny_cohort):
    assert elsewhere.import_(SYSTEM, exported) == CANDIDATE
    version = elsewhere.version(CANDIDATE)
    assert (version.status, version.registered_by) == ("candidate", "system")
    assert version.doubts  # it was never compared with the champion here
    cohort = Cohort.open(tiny_cohort)
    visits = cohort.samples("test")[:5]
    here, there = (Recommender.load(one.folder(CANDIDATE)) for one in (registry, elsewhere))
    assert np.array_equal(here.student_logits(visits), there.student_logits(visits))
    assert np.array_equal(here.teacher_logits(cohort, visits), there.teacher_logits(cohort, visits))


def test_the_same_version_gives_the_same_bytes(exported, registry, elsewhere, tmp_path):
    elsewhere.import_(SYSTEM, exported)
    elsewhere.export(SYSTEM, CANDIDATE, tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == exported.read_bytes()


def test_an_export_keeps_a_file_that_is_there(registry, exported):
    before = exported.read_bytes()
    with pytest.raises(WorkbenchError, match="exists already"):
        registry.export(SYSTEM, SHIPPED, exported)
    assert exported.read_bytes() == before


def test_export_and_import_are_audited_with_the_sum_of_the_archive(
    registry, exported, elsewhere, audited
):
    account, action, details = audited()[-1]
    assert (account, action) == ("system", "version exported")
    assert details["archive"] == sha256(exported.read_bytes()).hexdigest()
    elsewhere.import_(SYSTEM, exported)
    rows = elsewhere._audit.rows(SYSTEM)
    assert [row.action for row in rows] == ["version imported"]


def test_an_export_whose_row_of_the_audit_is_not_kept_leaves_no_file(
    registry, tmp_path, monkeypatch
):
    def full(_):
        raise sqlite3.OperationalError("database or disk is full")

    target = tmp_path / "not-kept.tar.gz"
    monkeypatch.setattr(store.Transaction, "commit", full)
    with pytest.raises(WorkbenchError, match="full"):
        registry.export(SYSTEM, registry.champion().version, target)
    assert list(tmp_path.glob("*not-kept*")) == []


def test_an_archive_of_a_version_that_is_here_is_refused(registry, exported):
    with pytest.raises(WorkbenchError, match="here already"):
        registry.import_(SYSTEM, exported)


def test_an_import_that_cannot_be_audited_does_not_happen(exported, elsewhere, monkeypatch):
    def unwritable(*_):
        raise WorkbenchError("audit: cannot be written")

    monkeypatch.setattr(elsewhere._audit, "record", unwritable)
    with pytest.raises(WorkbenchError, match="audit"):
        elsewhere.import_(SYSTEM, exported)
    monkeypatch.undo()
    assert elsewhere.collect() == []
    assert elsewhere.import_(SYSTEM, exported) == CANDIDATE


# ---------------------------------------------------------------- hostile members


def special(kind: bytes, name: str, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member, b""


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (special(tarfile.SYMTYPE, f"{CANDIDATE}/notes.txt", "/etc/passwd"), "link"),
        (special(tarfile.LNKTYPE, f"{CANDIDATE}/notes.txt", f"{CANDIDATE}/card.md"), "link"),
        (special(tarfile.CHRTYPE, f"{CANDIDATE}/notes.txt"), "device"),
        (special(tarfile.BLKTYPE, f"{CANDIDATE}/notes.txt"), "device"),
        (special(tarfile.FIFOTYPE, f"{CANDIDATE}/notes.txt"), "device"),
        (special(tarfile.DIRTYPE, f"{CANDIDATE}/notes"), "folder"),
        (special(tarfile.GNUTYPE_SPARSE, f"{CANDIDATE}/notes.txt"), "special file"),
        (special(b"Z", f"{CANDIDATE}/notes.txt"), "special file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_ordinary_file_is_refused(exported, elsewhere, member, says):
    write(exported, read(exported), member)
    said = refused(elsewhere, exported)
    assert says in said
    assert "notes" in said


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (f"{CANDIDATE}/../evil.txt", "leads out"),
        (f"{CANDIDATE}/adapter/../../../evil.txt", "leads out"),
        ("../evil.txt", "leads out"),
        ("/tmp/evil.txt", "absolute"),
        ("another/evil.txt", "not in the folder"),
        ("evil.txt", "not in the folder"),
        (f"{CANDIDATE}/.hidden.txt", "not a name"),
        (f"{CANDIDATE}/two\nlines.txt", "not a name"),
        (f"{CANDIDATE}/a\\b.txt", "not a name"),
        (f"{CANDIDATE}//evil.txt", "not a name"),
        (f"{CANDIDATE}/a/b/c/d.txt", "not a name"),
        (f"{CANDIDATE}/{'long' * 60}.txt", "not a name"),
        (f"{CANDIDATE}/adapter/adapter_model.bin", "kind"),
        (f"{CANDIDATE}/student.pkl", "kind"),
        (f"{CANDIDATE}/student.pickle", "kind"),
        (f"{CANDIDATE}/student.pt", "kind"),
        (f"{CANDIDATE}/adapter/modeling_llama.py", "kind"),
        (f"{CANDIDATE}/Makefile", "kind"),
        (f"{CANDIDATE}/card.md", "twice"),
        (f"{CANDIDATE}/CARD.md", "twice"),
    ],
)
def test_a_file_that_has_no_place_in_a_version_is_refused(exported, elsewhere, name, says):
    content = b"evil"
    write(exported, read(exported), (ordinary(name, content), content))
    assert says in refused(elsewhere, exported)


@pytest.mark.parametrize("first", ["../evil.txt", "/etc/evil.txt", "evil.txt", ".x/evil.txt", ""])
def test_a_hostile_first_name_never_names_the_version(elsewhere, tmp_path, first):
    path = write(tmp_path / "in.tar.gz", {first: b"evil"})
    assert refused(elsewhere, path)


def test_a_file_beyond_the_manifest_is_refused(exported, elsewhere):
    write(exported, read(exported) | {f"{CANDIDATE}/notes.txt": b"hello"})
    assert "notes.txt is not in its manifest.json" in refused(elsewhere, exported)


def test_a_missing_file_is_refused(exported, elsewhere):
    contents = read(exported)
    del contents[f"{CANDIDATE}/student.safetensors"]
    write(exported, contents)
    assert "student.safetensors" in refused(elsewhere, exported)


def test_a_missing_manifest_is_refused(exported, elsewhere):
    contents = read(exported)
    del contents[f"{CANDIDATE}/manifest.json"]
    write(exported, contents)
    assert "has no manifest.json" in refused(elsewhere, exported)


def test_a_changed_byte_is_refused(exported, elsewhere):
    contents = read(exported)
    weights = bytearray(contents[f"{CANDIDATE}/student.safetensors"])
    weights[-1] ^= 1
    write(exported, contents | {f"{CANDIDATE}/student.safetensors": bytes(weights)})
    assert "student.safetensors does not have the SHA-256" in refused(elsewhere, exported)


# ---------------------------------------------------------------- hostile contents, well sealed


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("manifest.json", b"[1, 2]", "manifest.json is not a version's"),
        ("manifest.json", b'{"files": {"card.md": 5}}', "is not in its manifest"),
        ("manifest.json", b"[" * 100_000, "manifest.json is not the json file"),
        ("student.safetensors", b"\x80\x04pickled", "student.safetensors is not the safetensors"),
        ("vocabulary.json", b"[" * 100_000, "vocabulary.json is not the json file"),
        ("vocabulary.json", b"\xff\xfe", "vocabulary.json is not the json file"),
        ("recipe.yaml", b"!!python/object/apply:os.system [id]", "recipe.yaml is not the yaml"),
        ("recipe.yaml", b"[" * 10_000, "recipe.yaml is not the yaml file"),
        ("adapter/adapter_config.json", b'{"peft_type": "IA3"}', "LoRA"),
        (
            "adapter/adapter_config.json",
            b'{"peft_type": "LORA", "corda_config": {"cache_file": "/tmp/pickled"}}',
            "corda_config",
        ),
        (
            "adapter/adapter_config.json",
            b'{"peft_type": "LORA", "megatron_config": {}, "megatron_core": "os", '
            b'"auto_mapping": {"parent_library": "os"}}',
            "auto_mapping",
        ),
    ],
)
def test_a_file_that_is_not_what_it_is_called_is_refused(exported, elsewhere, name, content, says):
    contents = read(exported) | {f"{CANDIDATE}/{name}": content}
    write(exported, contents if name == "manifest.json" else sealed(contents))
    assert says in refused(elsewhere, exported)


@pytest.mark.parametrize("field", ["version", "created", "cohort", "base_model"])
def test_a_manifest_that_tells_too_little_is_refused(exported, elsewhere, field):
    contents = read(exported)
    manifest = json.loads(contents[f"{CANDIDATE}/manifest.json"])
    manifest[field] = ["?"]
    write(exported, contents | {f"{CANDIDATE}/manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(WorkbenchError, match="manifest.json"):
        elsewhere.import_(SYSTEM, exported)
    assert elsewhere.collect() == []


def test_a_version_under_the_name_of_another_is_refused(exported, elsewhere):
    contents = read(exported)
    renamed = {name.replace(CANDIDATE, "other-1"): value for name, value in contents.items()}
    write(exported, renamed)
    with pytest.raises(WorkbenchError, match="not of other-1"):
        elsewhere.import_(SYSTEM, exported)
    assert elsewhere.collect() == []


# ---------------------------------------------------------------- hostile sizes


def test_a_decompression_bomb_is_refused_before_it_goes_off(exported, elsewhere, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", 40 * archive.MEGABYTE)
    zeros = bytes(30 * archive.MEGABYTE)
    bomb = read(exported) | {
        f"{CANDIDATE}/{name}.safetensors": zeros for name in ("one", "two", "three")
    }
    write(exported, bomb)
    assert exported.stat().st_size < archive.MEGABYTE
    assert "larger than" in refused(elsewhere, exported)


def test_a_text_of_gigabytes_is_refused_by_its_header_alone(elsewhere, tmp_path):
    member = tarfile.TarInfo(f"{CANDIDATE}/manifest.json")
    member.size = 2**40
    path = tmp_path / "in.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_000)))
    assert "too large" in refused(elsewhere, path)


def test_a_header_that_asks_for_gigabytes_of_memory_is_refused(elsewhere, tmp_path):
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 1_900_000_000
    path = tmp_path / "in.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_000)))
    assert "more than 1 MB" in refused(elsewhere, path)


def test_a_negative_size_is_refused(elsewhere, tmp_path):
    member = tarfile.TarInfo(f"{CANDIDATE}/manifest.json")
    member.size = -512
    path = tmp_path / "in.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_000)))
    assert refused(elsewhere, path)


def test_a_thousand_files_are_refused(exported, elsewhere):
    more = {f"{CANDIDATE}/{number}.txt": b"" for number in range(1000)}
    write(exported, read(exported) | more)
    assert "more than 200 files" in refused(elsewhere, exported)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", gzip.compress(b""), b"\x1f\x8b\x08"])
def test_what_is_no_archive_is_refused(elsewhere, tmp_path, content):
    path = tmp_path / "in.tar.gz"
    path.write_bytes(content)
    assert refused(elsewhere, path)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_an_archive_that_was_cut_short_is_refused(exported, elsewhere, part):
    content = exported.read_bytes()
    exported.write_bytes(content[: int(len(content) * part)])
    assert refused(elsewhere, exported)


def test_a_missing_archive_is_named(elsewhere, tmp_path):
    assert "no such file" in refused(elsewhere, tmp_path / "nothing.tar.gz")
