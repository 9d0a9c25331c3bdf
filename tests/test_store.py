"""The patient index: what a clinician types is found, and what is typed never breaks anything."""

import sqlite3

import pytest

from engine.errors import WorkbenchError
from engine.store import KEPT_INDEXES, PatientIndex

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


def test_the_file_is_write_ahead_logged(index):
    with sqlite3.connect(index.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "workbench.sqlite"
    path.write_text("not a database " * 100)
    with pytest.raises(WorkbenchError, match="workbench.sqlite.*move the file away"):
        PatientIndex(path, "a").is_built()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(WorkbenchError, match="WORKBENCH_DATA"):
        PatientIndex(tmp_path / "data" / "workbench.sqlite", "a").is_built()
