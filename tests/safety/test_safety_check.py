"""What a pharmacist would look for in a list, and what must not be said twice or too loudly."""

import itertools

import pytest

from engine.safety.check import check, check_lists, check_set, compared
from engine.safety.facts import PatientFacts
from engine.safety.medications import read
from engine.safety.report import certainty, tier

# Two drugs as a ward writes them, the rule that must be said first, and its severity.
PAIRS = [
    ("Warfarin", "Amiodarone HCl", "warfarin-amiodarone", "major"),
    ("Warfarin", "Sulfameth/Trimethoprim DS", "warfarin-trimethoprim-sulfamethoxazole", "major"),
    ("Warfarin", "Ibuprofen", "warfarin-nsaid", "major"),
    ("Apixaban", "Ketorolac", "doac-nsaid", "major"),
    ("Enoxaparin Sodium", "Naproxen", "heparin-nsaid", "major"),
    ("Apixaban", "Warfarin", "warfarin-direct-oral-anticoagulant", "major"),
    ("Rifampin", "Apixaban", "doac-strong-inducer", "major"),
    ("Sotalol", "Haloperidol", "qt-with-qt", "major"),
    ("Methadone", "Ondansetron", "qt-with-qt", "major"),
    ("Ondansetron", "Azithromycin", "qt-with-qt-lesser", "moderate"),
    ("Phenelzine", "Sertraline", "ssri-mao-inhibitor", "contraindicated"),
    ("Linezolid", "Citalopram", "linezolid-ssri", "major"),
    ("Phenelzine", "Meperidine", "opioid-mao-inhibitor", "contraindicated"),
    ("Simvastatin", "Clarithromycin", "simvastatin-strong-cyp3a4-inhibitor", "contraindicated"),
    ("Simvastatin", "Nirmatrelvir-Ritonavir", "simvastatin-strong-cyp3a4-inhibitor", None),
    ("Simvastatin", "Gemfibrozil", "simvastatin-gemfibrozil", "contraindicated"),
    ("Potassium Chloride", "Lisinopril", "ace-inhibitor-potassium", "moderate"),
    ("Potassium Chloride", "Spironolactone", "potassium-sparing-diuretic-potassium", "major"),
    ("Lisinopril", "Spironolactone", "ace-inhibitor-potassium-sparing-diuretic", "major"),
    ("Lisinopril", "Valsartan", "ace-inhibitor-with-arb", "major"),
    ("Sacubitril-Valsartan (Entresto)", "Enalapril", "sacubitril-ace-inhibitor", None),
    ("Methotrexate", "Trimethoprim", "methotrexate-trimethoprim", "major"),
    ("Azathioprine", "Febuxostat", "febuxostat-thiopurine", "contraindicated"),
    ("Azathioprine", "Allopurinol", "allopurinol-thiopurine", "major"),
    ("Tizanidine", "Ciprofloxacin HCl", "tizanidine-cyp1a2-inhibitor", "contraindicated"),
    ("Nitroglycerin SL", "Sildenafil", "nitrate-pde5-inhibitor", "contraindicated"),
    ("Lithium Carbonate", "Hydrochlorothiazide", "lithium-thiazide", "major"),
    ("Digoxin", "Amiodarone", "digoxin-amiodarone", "major"),
    ("Metoprolol Tartrate", "Verapamil", "beta-blocker-verapamil", "major"),
    ("Meropenem", "Divalproex (DELayed Release)", "valproate-carbapenem", "major"),
    ("Tacrolimus", "Voriconazole", "calcineurin-strong-cyp3a4-inhibitor", "major"),
    ("Atazanavir", "Omeprazole", "atazanavir-proton-pump-inhibitor", "contraindicated"),
    ("OxyCODONE (Immediate Release)", "Lorazepam", "opioid-benzodiazepine", "major"),
    ("Clopidogrel", "Omeprazole", "clopidogrel-omeprazole", "moderate"),
    ("Naltrexone", "Morphine Sulfate", "opioid-antagonist", "contraindicated"),
    ("Clozapine", "Fluvoxamine", "clozapine-cyp1a2-inhibitor", "major"),
    ("Colchicine", "Clarithromycin", "colchicine-strong-inhibitor", "major"),
    ("Enoxaparin", "Heparin", "two-injected-anticoagulants", "major"),
    ("Apixaban", "Rivaroxaban", "two-direct-oral-anticoagulants", "contraindicated"),
    ("Sertraline", "Venlafaxine", "two-serotonin-reuptake-inhibitors", "major"),
    ("Ibuprofen", "Naproxen", "two-nsaids", "major"),
    ("Acetaminophen", "Percocet", "same-ingredient-in-two-products", "moderate"),
]
HARMLESS = [
    ("Acetaminophen", "Ibuprofen"),
    ("Metformin", "Lisinopril"),
    ("Aspirin", "Atorvastatin"),
    ("Insulin Glargine", "Insulin Lispro"),
    ("Acetaminophen", "Acetaminophen IV"),
    ("Carbidopa-Levodopa (25-100)", "Ondansetron"),
    ("Warfarin", "Warfarin"),
]


@pytest.mark.parametrize("one, other, rule, severity", PAIRS)
def test_a_pair_is_found_by_name_in_either_order(one, other, rule, severity):
    report = check([one, other])
    first = report.alerts[0]
    assert (first.rule, first.level) == (rule, "drug")
    assert first.severity == (severity or "contraindicated")
    assert not first.scope and first.why and first.management and first.source
    assert check([other, one]) == report


@pytest.mark.parametrize("one, other", HARMLESS)
def test_a_harmless_pair_is_left_alone(one, other):
    assert check([one, other]).alerts == ()


def test_only_what_is_contraindicated_for_certain_interrupts():
    table = {
        ("contraindicated", "certain"): "interrupt",
        ("contraindicated", "likely"): "inline",
        ("contraindicated", "possible"): "folded",
        ("major", "certain"): "inline",
        ("major", "likely"): "folded",
        ("moderate", "certain"): "folded",
    }
    assert {key: tier(*key) for key in table} == table
    assert [certainty(share) for share in (1, 0.99, 1 / 3, 0.3)] == [
        *("certain", "likely", "likely", "possible")
    ]
    assert check(["Simvastatin", "Clarithromycin"]).interrupts
    assert not check(["Warfarin", "Amiodarone"]).interrupts
    assert [alert.tier for alert in check(["Ondansetron", "Azithromycin"]).alerts] == ["folded"]


def test_a_class_level_alert_says_that_it_is_uncertain():
    (alert,) = check(["B01A", "C01B"]).alerts
    assert (alert.rule, alert.level, alert.certainty) == (
        "warfarin-amiodarone",
        "class",
        "possible",
    )
    assert alert.tier == "folded"
    assert alert.scope == (
        "class-level: applies to some members of B01A (vitamin K antagonists) and "
        "some members of C01B (amiodarone)"
    )
    assert alert.what.startswith("Antithrombotic agents (B01A) with ")


def test_a_class_level_alert_that_holds_for_every_member_says_so():
    (alert,) = check(["C09A", "C03D"]).alerts
    assert (alert.level, alert.certainty, alert.tier) == ("class", "certain", "inline")
    assert "every drug of C09A" in alert.scope and "some members" not in alert.scope


def test_rules_for_parts_of_two_groups_add_up():
    first = check(["B01A", "M01A"]).alerts[0]
    assert first.severity == "major" and first.certainty == "likely"
    assert len(first.also) >= 2


def test_a_group_beside_its_drug_is_that_drug():
    report = check(["Warfarin", "B01A", "Amiodarone", "C01B"])
    assert [alert.level for alert in report.alerts] == ["drug"]
    assert not any("by group only" in line for line in report.not_checked)


def test_a_named_drug_meets_a_group():
    (alert,) = check(["Warfarin", "M01A"]).alerts
    assert (alert.rule, alert.level) == ("warfarin-nsaid", "class")
    assert "M01A" in alert.scope and "B01A" not in alert.scope


def test_the_groups_of_a_record_tell_the_route():
    assert check(["Timolol", "S01E", "Verapamil"]).alerts == ()
    assert check(["Timolol", "C07A", "Verapamil"]).alerts[0].rule == "beta-blocker-verapamil"
    assert check(["Alteplase (Catheter Clearance)", "B01A", "Warfarin"]).alerts == ()


def test_a_drug_under_several_names_is_one():
    medications, unknown = read(["Warfarin", "Coumadin", "warfarin 5 mg", "Nosuchdrug"])
    assert [one.label for one in medications] == ["warfarin"]
    assert unknown == ("Nosuchdrug",)
    assert [one.label for one in read(["B01AA03", "N02AA"])[0]] == ["warfarin"]


def test_pairs_of_one_rule_are_one_alert():
    report = check(["Morphine", "Oxycodone", "Lorazepam", "Diazepam"])
    alert = next(one for one in report.alerts if one.rule == "opioid-benzodiazepine")
    assert len(alert.pairs) == 4
    assert alert.what == "morphine, oxycodone with diazepam, lorazepam"


def test_a_pair_is_said_once_under_its_worst_rule_and_the_others_beside_it():
    report = check(["Simvastatin", "Clarithromycin", "Colchicine"])
    pairs = [pair for alert in report.alerts for pair in alert.pairs]
    assert len(pairs) == len(set(pairs))
    (alert,) = check(["Sirolimus", "Voriconazole"]).alerts
    assert alert.severity == "contraindicated" and "Kidney and nerve toxicity" in alert.also[0]


def test_what_the_patient_is_already_on_is_not_said_again():
    on = ["Warfarin", "Amiodarone"]
    report = check([*on, "Ibuprofen"], already_on=on)
    assert [alert.rule for alert in report.alerts] == ["warfarin-nsaid"]
    assert [alert.rule for alert in report.repeated] == ["warfarin-amiodarone"]
    assert check(on, already_on=["Warfarin"]).alerts  # one of the two is new


def test_an_alert_comes_back_when_it_becomes_more_severe():
    before = PatientFacts(age=60, diagnoses=("10:N179",))
    now = PatientFacts(age=60, diagnoses=("10:N179", "10:N186"))
    report = check(["Metformin"], now, already_on=["Metformin"], facts_before=before)
    assert [alert.rule for alert in report.alerts] == ["kidney-metformin"]
    assert [alert.rule for alert in report.repeated] == ["acute-kidney-injury-metformin"]
    as_group = check(["Simvastatin", "Clarithromycin"], already_on=["C10A", "J01F"])
    assert as_group.interrupts and not as_group.repeated


@pytest.mark.parametrize(
    "drug, facts, rule",
    [
        ("Metformin", {"diagnoses": ("10:N184",)}, "kidney-metformin"),
        ("Metformin", {"diagnoses": ("9:5854",)}, "kidney-metformin"),
        ("Metformin", {"past_diagnoses": ("9:5856",)}, "kidney-metformin"),
        ("Lisinopril", {"diagnoses": ("10:O0990",)}, "pregnancy-renin-angiotensin"),
        ("Ketorolac", {"diagnoses": ("10:I5021",)}, "heart-failure-nsaid"),
        ("Heparin", {"diagnoses": ("10:D75821",)}, "hit-heparin"),
        ("Haloperidol", {"diagnoses": ("9:3320",)}, "parkinson-dopamine-blocker"),
        ("Propranolol", {"diagnoses": ("10:J45909",)}, "asthma-beta-blocker"),
        ("Levofloxacin", {"past_diagnoses": ("10:G7000",)}, "myasthenia-blocker"),
        ("Rasburicase", {"diagnoses": ("10:D550",)}, "g6pd-oxidant"),
        ("Lorazepam", {"age": 65}, "older-benzodiazepine"),
        ("Codeine Sulfate", {"age": 11}, "child-codeine"),
        ("Lorazepam", {"age": 70, "diagnoses": ("9:E8859",)}, "falls-sedative"),
    ],
)
def test_a_caution_goes_by_diagnosis_and_age(drug, facts, rule):
    assert rule in [alert.rule for alert in check([drug], PatientFacts(**facts)).alerts]


@pytest.mark.parametrize(
    "drug, facts",
    [
        ("Metformin", {"diagnoses": ("10:N182",), "age": 50}),
        ("Metformin", {"diagnoses": ("10:N186", "10:Z940"), "age": 50}),  # a kidney since
        ("Metformin", {"past_diagnoses": ("10:N179",), "age": 50}),  # injury that is over
        ("Ketorolac", {"diagnoses": ("10:O80", "10:O0990"), "age": 30}),  # delivered
        ("Lorazepam", {"age": 64}),
        ("Codeine Sulfate", {"age": 18}),
    ],
)
def test_a_caution_does_not_reach_beyond(drug, facts):
    assert check([drug], PatientFacts(**facts)).alerts == ()


def test_a_caution_says_why_this_patient():
    (alert,) = check(["Metformin"], PatientFacts(diagnoses=("10:N184",))).alerts
    assert alert.what == "metformin in severe chronic kidney disease" and alert.tier == "interrupt"


def test_what_was_not_checked_is_said():
    said = " ".join(check(["B01A", "Nosuchdrug"]).not_checked)
    for words in (
        *("Nosuchdrug", "1 of 1 medications are known by group", "Allergies were not asked for"),
        *("Age is not known", "No diagnoses are known", "Pregnancy", "Doses", "no full database"),
    ):
        assert words in said
    facts = PatientFacts(age=70, sex="M", diagnoses=("10:I10",), allergies=())
    less = " ".join(check(["Warfarin"], facts).not_checked)
    assert "Allergies" not in less and "Pregnancy" not in less and "measured values" in less
    assert check([]).alerts == () and check([]).not_checked


def test_lists_are_compared_as_sets():
    counts = check_set(
        {
            "student": ["C09A", "C03D", "C07A", "C08D", "N02B"],
            "teacher": ["C09A", "C03D"],
            "prescribed": [],
        }
    )
    assert [counts[name].major for name in ("student", "teacher", "prescribed")] == [2, 1, 0]
    assert counts["student"].inline == 2 and counts["student"].interrupt == 0
    both = check_set({"both": ["B01A", "M01A"]})["both"]
    assert (both.major, both.possible, both.inline, both.folded) == (1, 0, 0, 1)
    assert "teacher: 0 contraindicated, 1 major and 0 moderate pairs" in compared(counts)


def test_the_order_of_a_list_never_matters():
    medications = ["Warfarin", "M01A", "Amiodarone", "C09A", "Potassium Chloride"]
    reports = {check(order) for order in itertools.permutations(medications)}
    assert len(reports) == 1


# ---------------------------------------------------------------- what the patient is already on


def test_a_proposed_group_is_checked_with_the_drugs_the_patient_is_on():
    alerts = check(["N06A"], already_on=["linezolid", "N04B"]).alerts
    by_current = {alert.current: alert for alert in alerts}
    assert set(by_current) == {("linezolid",), ("N04B",)}
    alert = by_current["linezolid",]
    assert alert.what == (
        "Antidepressants (N06A) with linezolid, given at the last stay (it may have been stopped)"
    )
    assert alert.severity == "major" and alert.level == "class" and "N06A" in alert.scope


def test_a_proposed_drug_meets_one_the_patient_is_on_at_drug_level():
    report = check(["Simvastatin"], already_on=["Clarithromycin"], given="now")
    assert report.interrupts and report.alerts[0].level == "drug"
    assert (
        report.alerts[0].what == "simvastatin with clarithromycin, which the patient is already on"
    )


def test_the_same_group_going_on_is_no_duplicate():
    assert check(["B01A"], already_on=["Heparin", "B01A"]).alerts == ()
    assert check(["B01A"], already_on=["B01A"]).alerts == ()
    assert check(["Heparin"], already_on=["Heparin", "B01A"]).alerts == ()
    twice = check(["Apixaban"], already_on=["Rivaroxaban", "B01A"]).alerts
    assert [alert.rule for alert in twice] == ["two-direct-oral-anticoagulants"]


def test_two_that_the_patient_is_on_stay_quiet_listed_or_not():
    on = ["Warfarin", "Amiodarone", "B01A", "C01B"]
    assert check([], already_on=on).alerts == ()
    for listed in (["B01A"], ["C01B"], ["B01A", "C01B"], on):
        report = check(listed, already_on=on)
        assert report.alerts == (), listed
        assert {alert.rule for alert in report.repeated} >= {"warfarin-amiodarone"}


def test_a_drug_that_the_record_names_is_surer_than_its_group():
    by_group = check(["Simvastatin"], already_on=["J01F"]).alerts
    by_name = check(["Simvastatin"], already_on=["Clarithromycin", "J01F"]).alerts
    assert by_group[0].level == "class" and by_group[0].tier != "interrupt"
    assert by_name[0].level == "drug" and by_name[0].tier == "interrupt"


def test_a_drug_by_another_route_than_before_is_news():
    eye = ["Timolol", "S01E", "Verapamil"]
    assert check(["Timolol", "C07A", "Verapamil"], already_on=eye).alerts
    assert check(["S01E"], already_on=eye).alerts == ()


def test_a_list_that_names_the_drug_of_a_current_group_says_it_once():
    report = check(["Simvastatin", "Clarithromycin"], already_on=["C10A", "J01F"])
    pairs = [alert.rule for alert in report.alerts if alert.rule.startswith("simvastatin")]
    assert pairs == ["simvastatin-strong-cyp3a4-inhibitor"]


def test_what_was_not_checked_of_the_current_drugs_is_said():
    unknown = " ".join(check(["B01A"]).not_checked)
    assert "already on is not known" in unknown
    said = " ".join(check(["B01A"], already_on=["Nosuchdrug", "Simvastatin", "M01A"]).not_checked)
    assert "Already on, not recognised, and so not checked: Nosuchdrug." in said
    assert "Already on, known by group only: M01A." in said
    assert "2 not listed by that name" in said and "not known; nothing" not in said


# ---------------------------------------------------------------- several lists


def test_what_no_single_list_holds_is_no_pair():
    assert check(["C09A", "C03D"]).alerts
    assert check_lists({"student": ["C09A"], "teacher": ["C03D"]}).alerts == ()


def test_an_alert_names_the_lists_that_hold_it():
    report = check_lists(
        {"student": ["C09A", "C03D"], "teacher": ["C09A", "C03D", "C09C"]},
        already_on=["Potassium chloride"],
    )
    own = {alert.involved: alert.lists for alert in report.alerts if not alert.current}
    assert own["C03D", "C09A"] == ("student", "teacher")
    assert own["C09A", "C09C"] == own["C03D", "C09C"] == ("teacher",)
    current = {alert.what.split(" (")[0]: alert.lists for alert in report.alerts if alert.current}
    assert ("teacher",) in current.values() and ("student", "teacher") in current.values()
    assert {alert.lists for alert in check(["C09A", "C03D"]).alerts} == {()}


def test_a_caution_names_the_lists_that_hold_it():
    facts = PatientFacts(diagnoses=("10:N184",))
    (alert,) = check_lists({"student": ["Metformin"], "teacher": []}, facts).alerts
    assert alert.lists == ("student",)
