"""The documents are true: every command in them parses and runs, every command is in them."""

import argparse
import io
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from bench import __main__ as bench
from engine.cli import build_parser, main
from engine.config import save_recipe
from engine.installation import Installation
from engine.permissions import SYSTEM
from engine.records.cohort import Cohort
from engine.registry.versions import Registry
from sample_data import generate
from tests.records import omop_export, test_mimic_iii
from tests.rrf import write_rrf

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "sample_data" / "README.md", ROOT / "CONTRIBUTING.md"]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))


def documented_commands() -> list[str]:
    """Every engine command of the README: in its blocks and in its table."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if "-m engine" in line]
    shown = [line.split("-m engine", 1)[1].split("#")[0] for line in lines]
    return shown + re.findall(r"^\| `engine ([^`]+)`", README, re.MULTILINE)


@pytest.fixture(scope="module")
def omop_tables(sample_tables, tmp_path_factory):
    """The same patients as an OMOP export."""
    return omop_export.write(omop_export.export(sample_tables), tmp_path_factory.mktemp("omop"))


@pytest.fixture
def stand_ins(tiny_cohort, tiny_pair, tiny_recipe, sample_tables, omop_tables, tmp_path):
    """What a reader would put for each word of the documented commands."""
    recipe = tmp_path / "tiny.yaml"
    save_recipe(tiny_recipe, recipe)
    patient = Cohort.open(tiny_cohort).samples("test")[0].patient_id
    fresh = tmp_path / "fresh"
    return {
        "HOSP_FOLDER": sample_tables,
        "INPUT_DIR": sample_tables,
        "MIMIC_III_DIR": test_mimic_iii.write(tmp_path / "mimic-iii"),
        "OMOP_DIR": omop_tables,
        "COHORT_DIR": tmp_path / "cohort",
        "COHORT": tiny_cohort,
        "ID": patient,
        "DIR": tiny_pair,
        "FILE": recipe,
        "recipes/full.yaml": recipe,
        "runs/hospital": fresh,
        "RRF_DIR": write_rrf(tmp_path / "rrf"),
        "TEXT_OR_CODE": "aspirin",
        "STUDY_DIR": tmp_path / "study",
        "NAME": "Dr Alvarez",
    }


@pytest.fixture
def accounts_of_a_hospital(tmp_path, monkeypatch):
    """An installation with the account that the README's commands name, and another one."""
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "installation"))
    for name in ("Dr Alvarez", "Dr Okafor"):
        monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
        add = ["users", "add", name, "--role", "administrator", "--password-stdin"]
        assert main(add) == 0


def registry_words(action: str, pair: Path, folder: Path) -> dict:
    """What stands for the words of a registry command, with a candidate for it to act on."""
    here, there = Registry(Installation.current()), Registry(Installation(folder / "there"))
    archive = folder / "version.tar.gz"
    if action == "import":
        there.export(SYSTEM, there.register(SYSTEM, pair, {}), archive)
        return {"FILE": archive}
    version = here.register(SYSTEM, pair, {})
    if action == "rollback":
        here.promote(SYSTEM, version, here.champion().version, "to have a way back")
    return {"VERSION": version, "TEXT": "seen by the pharmacists", "FILE": archive}


@pytest.mark.parametrize("command", documented_commands())
def test_a_documented_command_runs(
    command, stand_ins, tmp_path, tiny_run, tiny_cohort, accounts_of_a_hospital, monkeypatch
):
    words = shlex.split(command)
    if words[0] == "users" and words[1] in ("add", "reset"):
        words.append("--password-stdin")
        monkeypatch.setattr("sys.stdin", io.StringIO("another horse battery\n"))
    if words[:2] == ["users", "add"]:
        stand_ins["NAME"] = "Dr Sato"
    if words[0] == "audit":
        stand_ins["FILE"] = tmp_path / "audit.csv"
    if words[0] == "registry":
        stand_ins |= registry_words(words[1], tiny_run / "pair", tmp_path)
    if words[0] == "train":
        run = tmp_path / "run"
        if words[1] in ("hidden-states", "student"):
            shutil.copytree(tiny_run, run)
        stand_ins |= {"DIR": run, "data/hospital": tiny_cohort}
    if words[0] == "ingest":
        stand_ins["data/hospital"] = tmp_path / "hospital"
    if words[0] == "terminology":
        stand_ins["FILE"] = tmp_path / "rxnorm.sqlite"
    if words[0] == "study":
        words += ["--seeds", "1", "--only", "rq4"]
    if words[0] == "evaluate":
        stand_ins["FILE"] = tmp_path / "report.json"
    assert main([str(stand_ins.get(word, word)) for word in words]) == 0


def test_every_command_is_in_the_readme():
    commands = build_parser()._subparsers._group_actions[0].choices
    shown = " ".join(documented_commands())
    for command in commands:
        assert re.search(rf"(^|\s){command}(\s|$)", shown), command


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Every option of a command and of the commands below it."""
    found = set()
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found.update(*(options(below) for below in action.choices.values()))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_documented_option_exists(document):
    shown = set(re.findall(r"`(--[a-z][a-z0-9-]+)", document.read_text(encoding="utf-8")))
    known = options(build_parser()) | options(bench.build_parser())
    assert shown <= known


def test_every_choice_of_an_ingest_is_in_the_readme():
    ingest = build_parser()._subparsers._group_actions[0].choices["ingest"]
    undocumented = {name for name in options(ingest) - {"-h", "--help"} if name not in README}
    assert not undocumented


def test_the_generator_is_in_the_readme_and_takes_its_options(tmp_path):
    assert "sample_data.generate OUT --patients N --seed S" in README
    generate.main([str(tmp_path / "out"), "--patients", "5", "--seed", "1"])
    assert (tmp_path / "out" / "patients.csv.gz").exists()


def test_every_benchmark_is_in_the_readme_and_takes_its_options():
    parser = bench.build_parser()
    rows = re.findall(r"^\| `bench ([^`]+)`", README, re.MULTILINE)
    parsed = [parser.parse_args(shlex.split(row.replace(" N", " 9"))) for row in rows]
    named = {command.command.replace("-", "_") for command in parsed}
    assert named == set(bench.BENCHMARKS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def test_every_requirement_is_explained():
    names = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    for name in names:
        assert name.lower() in README.lower(), name


def test_no_document_names_a_make_target_that_is_gone():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake (\w+)", README)) - {"is"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def dry_run(*settings: str) -> str:
    """What `make run` would do, without doing it."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "--no-print-directory", "run", *settings],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_make_run_takes_port_cohort_and_models():
    steps = dry_run("PORT=8600", "COHORT=data/hospital", "MODELS=runs/hospital/pair")
    start = next(line for line in steps.splitlines() if "-m app" in line)
    assert "--port 8600" in start
    assert 'WORKBENCH_COHORT="data/hospital"' in start
    assert 'WORKBENCH_MODELS="runs/hospital/pair"' in start


def test_make_run_ingests_the_sample_only_when_it_is_the_cohort_asked_for():
    assert "ingest mimic-iv sample_data" in dry_run()
    assert "ingest mimic-iv sample_data" in dry_run("COHORT=data/sample/")
    assert "ingest mimic-iv sample_data" not in dry_run("COHORT=data/hospital")
