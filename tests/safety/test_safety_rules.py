"""The rules files: complete, known to the terminology, and a mistake in one is named in a line."""

import re
import shutil

import pytest
import yaml

from engine.errors import WorkbenchError
from engine.safety.rules import FOLDER, SafetyRules
from engine.terminology import atc, drugs, icd
from engine.terminology.interactions import SEVERITIES, TEXTS

RULES = SafetyRules.load()
EVERY = RULES.every_rule()


@pytest.fixture
def folder(tmp_path):
    """A copy of the rules to spoil."""
    return shutil.copytree(FOLDER, tmp_path / "rules")


def test_there_are_enough_rules_and_each_has_a_readable_id_of_its_own():
    assert len(RULES.interactions) >= 120
    ids = [rule.id for rule in EVERY]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", one) for one in ids)


def test_all_fifteen_entries_of_the_onc_list_are_there():
    from_list = [rule for rule in RULES.interactions if rule.source.startswith("ONC")]
    assert len(from_list) >= 15


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.id)
def test_a_rule_is_whole_and_its_drugs_are_known(rule):
    assert rule.severity in SEVERITIES
    assert all(getattr(rule, text).strip() for text in TEXTS)
    assert "TODO" not in rule.source and len(rule.source) >= 5
    for side in rule.sides:
        assert side.members and side.members <= drugs.ingredients().keys()
        assert side.groups <= atc.groups().keys()


@pytest.mark.parametrize("kind", ("duplicate", "allergy", "caution"))
def test_the_texts_are_short_sentences(kind):
    for rule in (one for one in EVERY if one.kind == kind):
        for text in (rule.mechanism, rule.consequence, rule.management):
            assert text.endswith(".") and len(text) <= 140, (rule.id, text)


def test_every_condition_begins_codes_that_exist_and_is_used():
    used = {name for rule in RULES.cautions for name in rule.conditions}
    assert used == RULES.conditions.keys()
    every = icd.codes("diagnosis")
    named = {
        prefix
        for one in (*RULES.conditions.values(), *RULES.allergens.values())
        for prefix in (*one.prefixes, *getattr(one, "unless", ()))
    }
    assert not {prefix for prefix in named if not any(code.startswith(prefix) for code in every)}


def test_every_allergen_of_a_rule_can_be_met():
    for rule in RULES.allergies:
        allergen = RULES.allergens[rule.allergen]
        assert allergen.words or allergen.prefixes or allergen.drugs.members, rule.id


@pytest.mark.parametrize(
    "file, part, change, said",
    [
        ("duplicates.yaml", "duplicates", {"source": ""}, "'source' is missing"),
        ("duplicates.yaml", "duplicates", {"drugs": "asprin"}, "'drugs': 'asprin' is no family"),
        ("duplicates.yaml", "duplicates", {"severity": "bad"}, "'severity' is 'bad', expected one"),
        ("allergies.yaml", "rules", {"to": ""}, "'to' is missing"),
        ("allergies.yaml", "rules", {"drugs": ["J01C", "not asprin"]}, "'not asprin' is no"),
        ("cautions_age.yaml", "cautions", {"age_from": None}, "'when' or an age is missing"),
        ("cautions_age.yaml", "cautions", {"age_from": "old"}, "'age_from' must be years"),
        ("cautions_other.yaml", "cautions", {"when": "astma"}, "'when' names 'astma'"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_file_rule_and_field(folder, file, part, change, said):
    content = yaml.safe_load((folder / file).read_text(encoding="utf-8"))
    content[part][0] |= change
    (folder / file).write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(WorkbenchError, match=re.escape(said)) as error:
        SafetyRules.load(folder)
    assert str(error.value).startswith(f"{file}: rule {content[part][0]['id']}: ")
    assert "\n" not in str(error.value)


def test_the_same_id_twice_is_refused(folder):
    content = yaml.safe_load((folder / "duplicates.yaml").read_text(encoding="utf-8"))
    content["duplicates"].append(content["duplicates"][0])
    (folder / "duplicates.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(WorkbenchError, match="two-ace-inhibitors: 'id' is there twice"):
        SafetyRules.load(folder)


def test_a_file_that_is_no_yaml_or_missing_is_named(folder):
    (folder / "conditions.yaml").write_text("conditions: [", encoding="utf-8")
    with pytest.raises(WorkbenchError, match="conditions.yaml: is no YAML at line"):
        SafetyRules.load(folder)
    (folder / "allergies.yaml").unlink()
    with pytest.raises(WorkbenchError, match="allergies.yaml: cannot be read"):
        SafetyRules.load(folder)
