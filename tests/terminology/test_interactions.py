"""The interaction rules: complete, known to the terminology, and clinically what they should be."""

import re

import numpy as np
import pytest

from engine.errors import WorkbenchError
from engine.terminology import atc, drugs, interactions
from engine.terminology.interactions import SEVERITIES, TEXTS, between, group_pairs, matrix, rules

RULES = {rule.id: rule for rule in rules()}
ENTRY = {
    "id": "a-b",
    "between": "warfarin",
    "and": "aspirin",
    "severity": "major",
    "mechanism": "m",
    "consequence": "c",
    "management": "m",
    "source": "s",
}

# The fifteen pairs of the ONC list by one example each, then the common ones of hospital practice.
FAMOUS = [
    ("dextroamphetamine", "phenelzine", "contraindicated"),
    ("atazanavir", "omeprazole", "contraindicated"),
    ("febuxostat", "azathioprine", "contraindicated"),
    ("tranylcypromine", "fluoxetine", "contraindicated"),
    ("irinotecan", "ketoconazole", "contraindicated"),
    ("meperidine", "phenelzine", "contraindicated"),
    ("amitriptyline", "phenelzine", "contraindicated"),
    ("sotalol", "haloperidol", "major"),
    ("ramelteon", "fluvoxamine", "contraindicated"),
    ("darunavir", "rifampin", "contraindicated"),
    ("simvastatin", "clarithromycin", "contraindicated"),
    ("ergotamine", "itraconazole", "contraindicated"),
    ("tizanidine", "ciprofloxacin", "contraindicated"),
    ("tranylcypromine", "procarbazine", "contraindicated"),
    ("sumatriptan", "phenelzine", "contraindicated"),
    ("warfarin", "ibuprofen", "major"),
    ("warfarin", "sulfamethoxazole/trimethoprim", "major"),
    ("warfarin", "metronidazole", "major"),
    ("warfarin", "amiodarone", "major"),
    ("apixaban", "carbamazepine", "major"),
    ("enoxaparin", "apixaban", "major"),
    ("clopidogrel", "omeprazole", "moderate"),
    ("methotrexate", "sulfamethoxazole/trimethoprim", "major"),
    ("methotrexate", "naproxen", "major"),
    ("lisinopril", "spironolactone", "major"),
    ("lisinopril", "potassium chloride", "moderate"),
    ("spironolactone", "potassium chloride", "major"),
    ("lisinopril", "losartan", "major"),
    ("sacubitril/valsartan", "enalapril", "contraindicated"),
    ("ceftriaxone", "calcium gluconate", "moderate"),
    ("linezolid", "sertraline", "major"),
    ("digoxin", "amiodarone", "major"),
    ("digoxin", "clarithromycin", "major"),
    ("lithium", "hydrochlorothiazide", "major"),
    ("lithium", "hydrochlorothiazide/lisinopril", "major"),
    ("lithium", "ketorolac", "major"),
    ("oxycodone", "lorazepam", "major"),
    ("acetaminophen/hydrocodone", "alprazolam", "major"),
    ("morphine", "gabapentin", "major"),
    ("sildenafil", "nitroglycerin", "contraindicated"),
    ("metoprolol", "verapamil", "major"),
    ("valproate", "meropenem", "major"),
    ("valproate", "lamotrigine", "major"),
    ("tacrolimus", "voriconazole", "major"),
    ("tacrolimus", "nirmatrelvir/ritonavir", "major"),
    ("allopurinol", "azathioprine", "major"),
    ("ciprofloxacin", "theophylline", "major"),
    ("tramadol", "paroxetine", "major"),
    ("naltrexone", "oxycodone", "contraindicated"),
    ("levothyroxine", "calcium carbonate", "moderate"),
    ("simvastatin", "gemfibrozil", "contraindicated"),
    ("atorvastatin", "gemfibrozil", "major"),
    ("sertraline", "rasagiline", "major"),
    ("sertraline", "phenelzine", "contraindicated"),
    ("ondansetron", "azithromycin", "moderate"),
    ("amiodarone", "azithromycin", "major"),
    ("fentanyl", "midazolam", "moderate"),
    ("bupropion", "linezolid", "contraindicated"),
    ("lurasidone", "rifampin", "contraindicated"),
    ("ketorolac", "ibuprofen", "major"),
    ("ketorolac", "probenecid", "contraindicated"),
    ("sirolimus", "voriconazole", "contraindicated"),
    ("methadone", "ondansetron", "major"),
]
HARMLESS = [
    ("acetaminophen", "ibuprofen"),
    ("acetaminophen", "morphine"),
    ("metformin", "lisinopril"),
    ("lisinopril", "amlodipine"),
    ("metoprolol", "lisinopril"),
    ("metoprolol", "amlodipine"),
    ("clopidogrel", "pantoprazole"),
    ("pravastatin", "clarithromycin"),
    ("simvastatin", "azithromycin"),
    ("methotrexate", "folic acid"),
    ("warfarin", "levetiracetam"),
    ("apixaban", "pantoprazole"),
    ("lithium", "glucosamine"),
    ("lithium", "amlodipine"),
    ("digoxin", "lisinopril"),
    ("ceftriaxone", "azithromycin"),
    ("ceftriaxone", "calcium carbonate"),
    ("furosemide", "potassium chloride"),
    ("warfarin", "warfarin"),
    ("haloperidol", "haloperidol"),
    ("levofloxacin", "insulin glargine"),
    ("tedizolid", "sertraline"),
]


def test_there_are_enough_rules_and_each_has_its_own_name():
    assert len(rules()) >= 120
    assert len(RULES) == len(rules())
    assert sum(rule.source.startswith("ONC") for rule in rules()) >= 15
    assert {rule.severity for rule in rules()} == set(SEVERITIES)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_a_rule_is_complete_and_known_to_the_terminology(rule):
    for text in TEXTS:
        assert getattr(rule, text).strip()
    for text in TEXTS[:3]:
        assert getattr(rule, text).endswith(".") and len(getattr(rule, text)) <= 120
    for side in rule.sides:
        assert side.members <= drugs.ingredients().keys() and side.members
        assert side.groups and side.groups <= atc.groups().keys()
        assert side.title and not re.search(r"\b[A-Z]\d\d[A-Z]", side.title)


def test_no_two_rules_name_the_same_two_sides():
    seen = [frozenset(side.members for side in rule.sides) for rule in rules()]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("one, other, severity", FAMOUS)
def test_a_famous_pair_is_found_either_way_round(one, other, severity):
    assert between(one, other)[0].severity == severity
    assert between(one, other) == between(other, one)


@pytest.mark.parametrize("one, other", HARMLESS)
def test_a_harmless_pair_is_not_there(one, other):
    assert between(one, other) == []


def test_the_route_decides_whether_a_drug_is_meant():
    beta_blocker = RULES["beta-blocker-verapamil"].sides[0]
    assert beta_blocker.covers("timolol") and beta_blocker.covers("timolol", ["C07AA06"])
    assert not beta_blocker.covers("timolol", ["S01ED01"])
    calcium = RULES["ceftriaxone-calcium-into-a-vein"].sides[1]
    assert calcium.covers("calcium gluconate", ["B05XA19"])
    assert not calcium.covers("calcium gluconate", ["A12AA03"])
    inhibitor = RULES["simvastatin-strong-cyp3a4-inhibitor"].sides[1]
    assert not inhibitor.covers("ketoconazole", ["D01AC08"])
    assert RULES["booster-inhaled-steroid"].sides[1].covers("fluticasone", ["R03BA05"])


def test_group_pairs_tell_the_worst_rule_and_the_share_of_their_drugs():
    pair = group_pairs()[frozenset(("C09A", "C03D"))]
    assert pair.severity == "major" and pair.share == 1
    assert pair.rules == ("ace-inhibitor-potassium-sparing-diuretic",)
    assert 0 < group_pairs()[frozenset(("B01A", "J02A"))].share < 1 / 3
    assert frozenset(("N02A", "N05B")) in group_pairs()
    assert all(len(pair) == 2 for pair in group_pairs("moderate"))
    assert all(0 < held.share <= 1 for held in group_pairs("moderate").values())


def test_a_milder_demand_finds_more_pairs():
    counts = [len(group_pairs(severity)) for severity in SEVERITIES]
    assert counts == sorted(counts, reverse=True) and counts[-1] > 0
    assert frozenset(("C09A", "A12B")) in group_pairs("moderate")
    assert frozenset(("C09A", "A12B")) not in group_pairs("major")


def test_the_matrix_is_symmetric_and_follows_the_order_of_the_groups():
    groups = ["C09A", "N02B", "C03D", "N02A", "B01A", "M01A", "Z99Z"]
    interacts = matrix(groups)
    assert interacts.dtype == bool and not interacts.diagonal().any()
    np.testing.assert_array_equal(interacts, interacts.T)
    found = {(groups[i], groups[j]) for i, j in np.argwhere(np.triu(interacts))}
    assert found == {("C09A", "C03D"), ("B01A", "M01A")}
    assert matrix(groups, share=0)[1, 3]  # pregabalin is in N02B with acetaminophen


def test_the_description_names_source_and_vocabulary():
    text = interactions.describe(["C09A", "C03D", "A02B"])
    assert "major or contraindicated" in text
    assert "1 of the 3 pairs of ATC third-level groups" in text


@pytest.mark.parametrize(
    "change, said",
    [
        ({"mechanism": ""}, "'mechanism' is missing"),
        ({"severity": "severe"}, "severity 'severe' is none of moderate, major"),
        ({"and": "asprin"}, "'asprin' is no family, ingredient or ATC code"),
        ({"and": "B9"}, "'B9' is no family"),
        ({"and": ["M01A", "not asprin"]}, "'not asprin' is no ingredient"),
    ],
)
def test_a_broken_rule_is_named(change, said):
    with pytest.raises(WorkbenchError, match=said) as error:
        interactions._rule(ENTRY | change, {})
    assert "rule a-b" in str(error.value)
