"""The patient index: what a clinician types is found, and what is typed never breaks anything."""

import random
import re
import sqlite3

import pytest

from engine import patient_index
from engine.errors import WorkbenchError
from engine.patient_index import KEPT_INDEXES, ORDERS, PatientIndex

HEART_FAILURE = ("diagnosis", "Heart failure, unspecified", "10:I509")
KIDNEY_FAILURE = ("diagnosis", "Acute kidney failure", "10:N179")
HEART_MURMUR = ("diagnosis", "Cardiac murmur of the heart", "10:R011")
HEPARIN = ("drug", "Héparin Sodium", "")
ANTITHROMBOTIC = ("group", "Antithrombotic agents", "B01A")

HOSTILE = [
    '"', '""', "'", "*", "heart*", "NEAR(", "NEAR(heart failure)", "heart NOT failure", "AND", "OR",
    "name:heart", "{name} : heart", "^heart", "-heart", "(", "🙂", "heart🙂", "\x00", "hea\x00rt",
    "\ud800", "%", "_", "'; DROP TABLE patient_indexes; --", "1 OR 1=1", "\\", ",", ",,,", "²", "½",
    "a" * 10_000, "x " * 5_000, "<script>alert(1)</script>", "{{7*7}}", "\u202e", "٣",
    "heart\nfailure",
]  # fmt: skip


def patient(patient_id, *terms, age=70, sex="F", visits=1, split="train", last="2180-01-01"):
    return {
        "patient_id": patient_id,
        "sex": sex,
        "age": age,
        "visits": visits,
        "last_admission": last,
        "leading_diagnoses": "; ".join(name for _, name, _ in terms[:3]),
        "split": split,
        "terms": terms,
    }


PATIENTS = [
    patient("10001", HEART_FAILURE, HEPARIN, ANTITHROMBOTIC, age=81, visits=3),
    patient("10002", HEART_MURMUR, KIDNEY_FAILURE, age=55, sex="M", split="test"),
    patient("20001", KIDNEY_FAILURE, age=None, sex=None, split="validation", last=None),
]


WORDS = [
    "heart", "acute", "chronic", "kidney", "failure", "of", "with", "unspecified", "anaemia",
    "asthma", "burn", "cough", "diabetes", "fever", "gout", "hernia", "injury", "lupus",
    "nausea", "obesity", "pain", "rash", "sepsis", "stroke", "tremor", "ulcer", "zoster",
]  # fmt: skip


@pytest.fixture
def index(tmp_path):
    index = PatientIndex(tmp_path / "data" / "workbench.sqlite", "fingerprint-a")
    index.build(PATIENTS)
    return index


def ids(index, *arguments, **conditions):
    rows, total = index.search(*arguments, **conditions)
    assert total == len(rows)
    return [row["patient_id"] for row in rows]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["10001", "10002", "20001"]),
        ("   ", ["10001", "10002", "20001"]),
        ("10002", ["10002"]),
        ("1000", ["10001", "10002"]),
        ("antithr", ["10001"]),
        ("ANTITHROMBOTIC agents", ["10001"]),
        ("B01A", ["10001"]),
        ("heparin", ["10001"]),
        ("I50.9", ["10001"]),
        ("i509", ["10001"]),
        ("kidney", ["10002", "20001"]),
        ("no such thing", []),
        ("🙂", []),
    ],
)
def test_finds_by_the_start_of_an_id_a_diagnosis_a_drug_a_group_or_a_code(index, text, expected):
    assert ids(index, text) == expected


def test_words_of_one_name_are_looked_for_together(index):
    # 10002 has a murmur of the heart and a failure of the kidney, but no heart failure.
    assert ids(index, "heart failure") == ["10001"]


def test_words_of_different_names_and_comma_parts_must_all_be_there(index):
    assert ids(index, "failure heparin") == ["10001"]
    assert ids(index, "heart, kidney failure") == ["10002"]
    assert ids(index, "heart failure, kidney failure") == []


def test_says_by_which_names_a_patient_was_found(index):
    rows, _ = index.search("heart, kidney")
    assert rows[0]["found"] == ["Cardiac murmur of the heart", "Acute kidney failure"]
    rows, _ = index.search("a, heparin")  # one name of each thing asked for, before the rest
    assert rows[0]["found"] == ["Antithrombotic agents", "Héparin Sodium"]
    rows, _ = index.search("10001")
    assert rows[0]["found"] == []


@pytest.mark.parametrize("text", HOSTILE)
def test_any_characters_are_safe(index, text):
    rows, total = index.search(text)
    assert total == len(rows) <= len(PATIENTS)
    assert ids(index) == ["10001", "10002", "20001"]


def test_filters_narrow_and_combine(index):
    assert ids(index, age_range=(60, 90)) == ["10001"]
    assert ids(index, age_range=(55, 81)) == ["10001", "10002"]
    assert ids(index, sex="M") == ["10002"]
    assert ids(index, visit_kind="first") == ["10002", "20001"]
    assert ids(index, visit_kind="returning") == ["10001"]
    assert ids(index, split="validation") == ["20001"]
    assert ids(index, "failure", visit_kind="first", sex="M") == ["10002"]
    assert ids(index, "20001", sex="F") == []


def test_pages_follow_each_other_and_count_everything(index):
    first, total = index.search(page=1, page_size=2)
    second, _ = index.search(page=2, page_size=2)
    beyond, _ = index.search(page=3, page_size=2)
    assert total == 3
    assert [row["patient_id"] for row in first + second] == ["10001", "10002", "20001"]
    assert beyond == []


def test_orders_put_the_largest_first_and_the_missing_last(index):
    assert ids(index, order="age") == ["10001", "10002", "20001"]
    assert ids(index, order="visits")[0] == "10001"
    assert ids(index, order="last admission")[-1] == "20001"


def test_a_row_carries_what_the_table_shows(index):
    rows, _ = index.search("10001")
    assert rows == [
        {
            "patient_id": "10001",
            "sex": "F",
            "age": 81,
            "visits": 3,
            "last_admission": "2180-01-01",
            "leading_diagnoses": "; ".join(
                ["Heart failure, unspecified", "Héparin Sodium", "Antithrombotic agents"]
            ),
            "split": "train",
            "found": [],
        }
    ]


def test_facets_say_what_can_be_filtered(index):
    assert index.facets() == {
        "total": 3,
        "ages": (55, 81),
        "sexes": ["F", "M"],
        "splits": ["test", "train", "validation"],
    }


def test_an_empty_cohort_is_an_index_too(tmp_path):
    index = PatientIndex(tmp_path / "workbench.sqlite", "empty")
    index.build([])
    assert index.is_built()
    assert index.search("anything") == ([], 0)
    assert index.facets() == {"total": 0, "ages": None, "sexes": [], "splits": []}


def test_another_fingerprint_is_another_index_and_cohorts_may_alternate(index):
    other = PatientIndex(index.path, "fingerprint-b")
    assert not other.is_built()
    other.build([patient("30001", HEART_FAILURE)])
    assert ids(other, "heart failure") == ["30001"]
    assert ids(index, "heart failure") == ["10001"]
    assert PatientIndex(index.path, "fingerprint-a").is_built()


def test_building_again_changes_nothing(index):
    index.build([patient("99999")])
    assert ids(index) == ["10001", "10002", "20001"]


def test_only_the_latest_indexes_are_kept(index):
    later = [PatientIndex(index.path, f"later-{number}") for number in range(KEPT_INDEXES)]
    for other in later:
        other.build(PATIENTS)
    assert not index.is_built()
    assert all(other.is_built() for other in later)
    with pytest.raises(WorkbenchError, match="reload the page"):
        index.search("heart")


def test_dropped_indexes_leave_no_table_behind(tmp_path):
    path, counts = tmp_path / "workbench.sqlite", []
    for number in range(KEPT_INDEXES + 2):
        PatientIndex(path, f"cohort-{number}").build(PATIENTS)
        with sqlite3.connect(path) as connection:
            counts += connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    assert counts[-1] == counts[-2] == counts[-3]


def test_an_index_of_an_older_layout_is_built_anew(index, monkeypatch):
    monkeypatch.setattr(patient_index, "LAYOUT", patient_index.LAYOUT + 1)
    newer = PatientIndex(index.path, index.fingerprint)
    assert not newer.is_built()
    newer.build(PATIENTS)
    assert ids(newer, "kidney") == ["10002", "20001"]


def test_a_build_that_fails_leaves_no_index(tmp_path):
    def broken():
        yield PATIENTS[0]
        raise RuntimeError("the power went")

    index = PatientIndex(tmp_path / "workbench.sqlite", "fingerprint-a")
    with pytest.raises(RuntimeError):
        index.build(broken())
    assert not index.is_built()
    with pytest.raises(WorkbenchError):
        index.build([PATIENTS[0], PATIENTS[0]])  # the same patient twice fails while writing
    assert not index.is_built()
    index.build(PATIENTS)
    assert ids(index, "kidney") == ["10002", "20001"]


def test_building_reports_how_far_it_is(tmp_path):
    counts = []
    PatientIndex(tmp_path / "workbench.sqlite", "a").build(PATIENTS, counts.append)
    assert counts == [1, 2, 3]


def crowd(count=300, seed=11):
    """Random patients: some terms are had by half of them, most by a few."""
    chance = random.Random(seed)
    terms = [
        ("diagnosis", " ".join(chance.sample(WORDS, chance.randint(1, 4))), f"10:{letter}{number}")
        for letter in "AEKZ"
        for number in range(10, 40)
    ]
    often = [1 / (3 + place) for place in range(len(terms))]
    return [
        patient(
            f"{chance.randrange(1000, 9000)}-{number}",
            *chance.choices(terms, often, k=chance.randint(0, 12)),
            age=chance.choice([None, *range(18, 95)]),
            sex=chance.choice(["F", "M", None]),
            visits=chance.randint(1, 3),
            split=chance.choice(["train", "test"]),
        )
        for number in range(count)
    ]


def names(term, words):
    """Whether each word is the beginning of a word in the term's name or code."""
    tokens = re.findall(r"\w+", f"{term[1]} {term[2]}".lower())
    return all(any(token.startswith(word) for token in tokens) for word in words)


def found_by_reading(people, text):
    """The ids a search must find, by looking at every term of every patient."""
    known = {term for person in people for term in person["terms"]}
    things = []
    for words in (part.split() for part in text.split(",")):
        together = any(names(term, words) for term in known)
        things += [words] if together else [[word] for word in words]
    return {
        person["patient_id"]
        for person in people
        if person["patient_id"].startswith(text)
        or all(any(names(term, words) for term in person["terms"]) for words in things)
    }


@pytest.mark.parametrize(
    "text",
    [
        *"abefkuz3",
        "chronic",
        "k3",
        "chronic heart",
        "of acute",
        "a, u",
        "heart, kid, un",
        "k, e, of p",
    ],
)
def test_a_search_finds_whom_reading_every_record_finds(tmp_path, text):
    people = crowd()
    index = PatientIndex(tmp_path / "workbench.sqlite", "crowd")
    index.build(people)
    expected = found_by_reading(people, text)
    assert 0 < len(expected) < len(people)
    assert set(ids(index, text, page_size=len(people))) == expected
    women_returning = {
        person["patient_id"] for person in people if person["sex"] == "F" and person["visits"] > 1
    }
    filtered = ids(index, text, page_size=len(people), sex="F", visit_kind="returning")
    assert set(filtered) == expected & women_returning


@pytest.mark.parametrize("order", ORDERS)
def test_pages_in_any_order_show_every_patient_once(tmp_path, order):
    people = crowd()
    index = PatientIndex(tmp_path / "workbench.sqlite", "crowd")
    index.build(people)
    pages = [index.search(order=order, page=page, page_size=70)[0] for page in range(1, 6)]
    shown = [row["patient_id"] for page in pages for row in page]
    assert sorted(shown) == sorted(person["patient_id"] for person in people)
    if order == "age":
        ages = [row["age"] for page in pages for row in page if row["age"] is not None]
        assert ages == sorted(ages, reverse=True)
    if order == "patient":
        assert shown == sorted(shown)


def test_an_order_that_does_not_exist_is_refused(index):
    with pytest.raises(ValueError, match="last admission"):
        index.search(order="name")
