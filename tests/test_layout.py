"""The house: nothing imports upward, files stay readable, what is copied and documented exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "engine.config": 0,
    "engine.errors": 0,
    "engine.files": 0,
    "engine.logistic": 0,
    "engine.palette": 0,
    "engine.patient_index": 0,
    "engine.store": 0,
    "engine.basis": 2,
    "engine.installation": 0,
    "engine.migrations": 0,
    "engine.permissions": 1,
    "engine.audit_key": 1,
    "engine.audit": 1,
    "engine.credentials": 1,
    "engine.lockout": 1,
    "engine.sessions": 1,
    "engine.accounts": 1,
    "engine.terminology": 1,
    "engine.records": 2,
    "engine.prompts": 2,
    "engine.what_if": 2,
    "engine.similar": 2,
    "engine.teacher": 3,
    "engine.student": 3,
    "engine.evaluation": 4,
    "engine.safety": 4,
    "engine.registry": 5,
    "engine.recommender": 5,
    "engine.decision_export": 5,
    "engine.decisions": 5,
    "engine.evidence": 5,
    "engine.jobs": 6,
    "engine.cli": 7,
    "engine.__main__": 7,
    "app": 8,
    "bench": 8,
}
SOURCES = [
    path for top in ("engine", "app", "bench") for path in sorted((ROOT / top).rglob("*.py"))
]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor(module: str) -> int | None:
    known = [name for name in FLOORS if module == name or module.startswith(name + ".")]
    return FLOORS[max(known, key=len)] if known else None


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{name.name}" for name in node.names)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_from_a_floor_above(path):
    own = floor(module_name(path)) if module_name(path) != "engine" else 0
    assert own is not None, "which floor does this file live on? see CONTRIBUTING.md"
    above = {name for name in imports(path) if (other := floor(name)) is not None and other > own}
    assert not above


def test_no_two_modules_import_each_other():
    graph = {module_name(path): imports(path) for path in SOURCES}
    circles = {
        (one, other)
        for one, targets in graph.items()
        for other in targets & graph.keys()
        if one in graph[other] and one != other
    }
    assert not circles


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short_enough_to_read(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420


def dockerfile_instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_every_path_the_dockerfile_copies_exists():
    copies = [rest.split()[:-1] for word, rest in dockerfile_instructions() if word == "COPY"]
    assert copies
    for source in (path for paths in copies for path in paths):
        assert (ROOT / source).exists(), source


def test_the_dockerfile_is_sound():
    instructions = dockerfile_instructions()
    words = [word for word, _ in instructions]
    known = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK"}
    assert set(words) <= known | {"CMD"}
    assert words[0] == "FROM"
    assert words.index("USER") < words.index("CMD")
    rest = dict(instructions)
    assert rest["USER"] != "root"
    assert "/_stcore/health" in rest["HEALTHCHECK"]
    assert words.count("VOLUME") == 1
    assert "python -m app " in rest["CMD"]


def test_the_wheel_of_the_base_model_is_the_same_everywhere():
    from engine.teacher.base_model import WHEEL

    for file in ("Makefile", "Dockerfile"):
        assert WHEEL in (ROOT / file).read_text(encoding="utf-8")


def test_requirements_are_pinned():
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-ray.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        for line in lines:
            assert line.startswith("#") or re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+", line), line
