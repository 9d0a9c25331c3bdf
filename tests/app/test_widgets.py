"""What the drawn pieces say, on hand-made recommendations and visits."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app import style
from app.widgets import (
    agreement,
    answer_summary,
    notice,
    patient_header,
    prediction_set,
    probability_chart,
    prompt_panel,
    recommendation_table,
    timeline,
    visit_record,
)
from engine import palette
from engine.recommender import PredictionSet, Recommendation, Row
from engine.records.schema import Visit

THRESHOLDS = {"teacher": 0.4, "student": 0.3}
BOTH = Row("B01A", "Antithrombotic agents", 0.9, 0.8, "continued", True)
TEACHER = Row("C07A", "Beta blocking agents", 0.7, 0.1, "new", False)
STUDENT = Row("A02B", "Drugs for peptic ulcer", 0.2, 0.5, "new", True)
NEITHER = Row("N02B", "Other analgesics", 0.1, 0.05, "stopped", False)
FOREIGN = Row("V03A", "Other therapeutic products", None, None, "stopped", False)
ROWS = (BOTH, TEACHER, STUDENT, NEITHER, FOREIGN)


def visit(number=1, **changes):
    start = datetime(2180, 1, 1) + timedelta(days=200 * number)
    values = {
        "patient_id": "1",
        "visit_id": f"v{number}",
        "admit_time": start,
        "discharge_time": start + timedelta(days=4, hours=6),
        "age": 70,
        "sex": "F",
        "insurance": None,
        "language": None,
        "marital_status": None,
        "race": None,
        "religion": None,
        "admission_type": "EW EMER.",
        "diagnoses": ("10:I509", "10:I10"),
        "procedures": (),
        "medications": ("A02B", "B01A", "J01C"),
        "drugs": ("Heparin",),
    }
    return Visit(**values | changes)


def recommendation(rows=ROWS, teacher_ms=412.3):
    return Recommendation(
        patient_id="1",
        visit_id="v1",
        versions={"teacher": "pair/aaaa", "student": "pair/bbbb"},
        thresholds=THRESHOLDS,
        rows=tuple(rows),
        omitted=(),
        latency_ms={"teacher": teacher_ms, "student": 1.26},
    )


# ---------------------------------------------------------------- agreement


def test_agreement_names_who_proposes():
    kinds = [agreement.of(row, THRESHOLDS) for row in ROWS]
    assert kinds == ["both", "teacher", "student", "neither", "neither"]


def test_a_probability_on_the_threshold_is_a_proposal():
    assert agreement.of(Row("X", "x", 0.4, 0.3, "new", None), THRESHOLDS) == "both"


def test_the_student_alone_is_shown_as_waiting_for_the_teacher():
    assert agreement.of(Row("X", "x", None, 0.9, "new", None), THRESHOLDS) == "waiting"
    assert agreement.of(Row("X", "x", None, 0.1, "stopped", None), THRESHOLDS) == "neither"


@pytest.mark.parametrize(
    ("by", "codes"),
    [
        ("teacher", ["B01A", "C07A", "A02B", "N02B", "V03A"]),
        ("student", ["B01A", "A02B", "C07A", "N02B", "V03A"]),
        ("agreement", ["B01A", "C07A", "A02B", "N02B", "V03A"]),
    ],
)
def test_rows_are_sorted_by_what_was_asked(by, codes):
    assert [row.atc for row in agreement.ordered(ROWS[::-1], THRESHOLDS, by)] == codes


def test_before_the_teacher_answers_rows_follow_the_student():
    rows = [Row(atc, atc, None, p, "new", None) for atc, p in (("A", 0.4), ("B", 0.9))]
    assert [row.atc for row in agreement.ordered(rows, THRESHOLDS, "teacher")] == ["B", "A"]


def test_the_legend_counts_only_what_occurs():
    legend = agreement.legend(ROWS, THRESHOLDS)
    assert "Both propose <b>1</b>" in legend
    assert "Neither, but given last time <b>2</b>" in legend
    assert style.AGREEMENT_LABEL["waiting"] not in legend


# ---------------------------------------------------------------- chart and table


def bars(chart):
    return {trace.name: trace for trace in chart.data if trace.type == "bar"}


def test_the_chart_has_a_bar_of_each_model_for_every_group():
    chart = probability_chart.figure(ROWS, THRESHOLDS)
    drawn = bars(chart)
    assert list(drawn["teacher"].x) == [0.9, 0.7, 0.2, 0.1, None]
    assert list(drawn["student"].x) == [0.8, 0.1, 0.5, 0.05, None]
    assert list(drawn["teacher"].y) == list(drawn["student"].y) == [row.atc for row in ROWS]


def test_the_first_row_stands_on_top():
    low, high = probability_chart.figure(ROWS, THRESHOLDS).layout.yaxis.range
    assert low > high


def test_the_chart_colours_by_agreement():
    colours = bars(probability_chart.figure(ROWS, THRESHOLDS))["teacher"].marker.color
    assert list(colours[:4]) == [
        style.AGREEMENT[kind][0] for kind in ("both", "teacher", "student", "neither")
    ]
    assert len(set(colours)) == 4


def test_both_thresholds_are_drawn_and_named():
    chart = probability_chart.figure(ROWS, THRESHOLDS)
    assert {shape.x0 for shape in chart.layout.shapes} == {0.3, 0.4}
    texts = [annotation.text for annotation in chart.layout.annotations]
    assert {"teacher threshold 0.40", "student threshold 0.30"} <= set(texts)


def test_without_the_teacher_only_the_students_threshold_is_drawn():
    rows = [Row("B01A", "Antithrombotic agents", None, 0.8, "new", None)]
    chart = probability_chart.figure(rows, THRESHOLDS)
    assert {shape.x0 for shape in chart.layout.shapes} == {0.3}


def test_given_groups_are_ticked_only_for_a_visit_with_a_record():
    ticked = [t for t in probability_chart.figure(ROWS, THRESHOLDS).data if t.name == "given"]
    assert list(ticked[0].y) == ["B01A", "A02B"]
    unknown = [Row("B01A", "Antithrombotic agents", 0.9, 0.8, "new", None)]
    chart = probability_chart.figure(unknown, THRESHOLDS)
    assert not [trace for trace in chart.data if trace.name == "given"]


def test_names_from_records_are_never_markup():
    row = Row("B01A", "<img src=x onerror=alert(1)>", 0.9, 0.8, "new", None)
    chart = probability_chart.figure([row], THRESHOLDS)
    drawn = chart.layout.yaxis.ticktext[0] + bars(chart)["teacher"].hovertext[0]
    assert "<img" not in drawn
    assert "&lt;img" in drawn


def test_the_table_holds_code_name_probabilities_status_and_what_was_given():
    table = recommendation_table.frame(ROWS)
    assert list(table.columns) == [
        "Code", "Medication group", "Teacher", "Student", "Status", "Given",
    ]  # fmt: skip
    assert table.iloc[0].tolist() == ["B01A", "Antithrombotic agents", 0.9, 0.8, "continued", "✓"]
    assert table["Teacher"].isna().tolist() == [False, False, False, False, True]


def test_the_table_of_a_visit_without_medications_has_no_given_column():
    rows = [Row("B01A", "Antithrombotic agents", 0.9, 0.8, "new", None)]
    assert "Given" not in recommendation_table.frame(rows).columns


def test_while_the_teacher_reads_its_bars_are_pale_and_a_line_is_kept_free():
    rows = [replace(row, teacher=None) for row in ROWS]
    answered, waiting = (probability_chart.figure(rows, THRESHOLDS, w) for w in (False, True))
    assert "to come" not in bars(answered)
    pale = bars(waiting)["to come"]
    assert list(pale.y) == [row.atc for row in ROWS]
    assert pale.offsetgroup == "teacher"
    assert pale.hoverinfo == "skip"
    assert waiting.layout.height - answered.layout.height == probability_chart.ROW_HEIGHT
    assert {shape.x0 for shape in waiting.layout.shapes} == {0.3}


@pytest.mark.parametrize(
    ("waiting", "words"), [("reading the record …", "reading the record"), ("", "no answer")]
)
def test_a_missing_answer_says_whether_it_will_come(monkeypatch, waiting, words):
    drawn = []
    monkeypatch.setattr(answer_summary.st, "html", drawn.append)
    answer_summary.draw(recommendation(teacher_ms=None), visit(), waiting)
    teacher = drawn[0].split("Student")[0]
    assert words in teacher
    assert ("…" in teacher) == bool(waiting)


# ---------------------------------------------------------------- prediction sets

SETS = {
    "teacher": PredictionSet(0.9, 213, ("B01A", "C07A", "J01C")),
    "student": PredictionSet(0.9, 213, ("B01A", "A02B")),
}


def test_the_table_says_whose_set_a_group_lies_in():
    table = recommendation_table.frame(ROWS, SETS)
    assert table["90 % set"].tolist() == ["both", "teacher", "student", "", ""]
    assert "90 % set" not in recommendation_table.frame(ROWS).columns


def test_the_promise_is_an_average_over_patients_like_those_it_was_set_on():
    words = prediction_set.explanation(SETS)
    assert "of patients like the 213 it was set on" in words
    assert "on average at least 90 % of what was given" in words
    assert "For a single patient it may hold less" in words


@pytest.mark.parametrize(("share", "words"), [(0.9, "90 %"), (0.925, "92.5 %"), (0.07, "7 %")])
def test_a_share_has_as_many_digits_as_it_needs(share, words):
    assert prediction_set.percent(share) == words


@pytest.mark.parametrize(
    ("trained_here", "split", "words"),
    [
        (False, "test", "not the one it was set on"),
        (False, "train", "not the one it was set on"),
        (True, "train", "learned from this patient"),
        (True, "validation", "one of those it was set on"),
    ],
)
def test_what_keeps_the_promise_from_holding_is_said(trained_here, split, words):
    assert words in prediction_set.caution(trained_here, split)
    assert prediction_set.caution(True, "test") is None


def test_groups_only_in_the_set_are_named_and_those_given_are_ticked(monkeypatch):
    drawn = []
    monkeypatch.setattr(prediction_set.st, "html", drawn.append)
    answer = replace(recommendation(), prediction_sets=SETS)
    prediction_set.draw(answer, visit(), lambda group: f"<i>{group}</i>", True, "test")
    (html,) = drawn
    teacher, student = html.split("Student: 90 % set")
    assert "3 groups" in teacher
    assert "2 of them in the table" in teacher
    assert "2 of 3 given groups (✓) held" in teacher  # B01A and J01C; A02B is missed
    assert "&lt;i&gt;J01C&lt;/i&gt; (J01C) ✓" in teacher
    assert "Nothing beyond the table." in student
    assert "Mind" not in html


# ---------------------------------------------------------------- summary


def test_what_neither_model_proposed_though_given_is_named():
    assert answer_summary.missed(recommendation(), visit()) == ["J01C"]


@pytest.mark.parametrize(
    ("fingerprint", "split", "words"),
    [
        ("same", "train", "learned from this patient"),
        ("same", "validation", "Thresholds were chosen"),
        ("same", "test", "never saw this patient"),
        ("other", "train", "trained on another cohort"),
    ],
)
def test_it_is_said_whether_the_models_know_the_patient(fingerprint, split, words):
    assert words in answer_summary.acquaintance("same", fingerprint, split)


@pytest.mark.parametrize(
    ("latency", "words"), [(1.26, "1.3 ms"), (412.3, "412 ms"), (1712.0, "1.7 s")]
)
def test_durations_are_short(latency, words):
    assert answer_summary.milliseconds(latency) == words


def test_codes_never_seen_in_training_are_named_without_their_version():
    class Vocabulary:
        def diagnosis_index(self, code):
            return int(code == "10:I10")

        def procedure_index(self, code):
            return 0

    unseen = answer_summary.unseen(Vocabulary(), visit(procedures=("10:02703ZZ",)))
    assert unseen == ["I509", "02703ZZ"]


# ---------------------------------------------------------------- visits


def code_name(kind, code):
    return f"name of {code}"


def group_name(group):
    return f"group {group}"


def test_a_visit_in_a_line_says_when_what_kind_and_how_long():
    line = visit_record.title(visit(diagnoses=("10:I10",)))
    assert line == (
        "19 Jul 2180 · Emergency · 4 days · 1 diagnosis, 0 procedures, 3 medication groups"
    )


def test_missing_facts_read_as_not_recorded():
    bare = visit(discharge_time=None, admission_type=None)
    assert patient_header.stay(bare) == "not recorded"
    assert patient_header.admission(bare) == "not recorded"


def test_a_stay_of_hours_and_one_of_a_day():
    start = datetime(2180, 1, 1)
    hours = visit(admit_time=start, discharge_time=start + timedelta(hours=5))
    day = visit(admit_time=start, discharge_time=start + timedelta(hours=26))
    assert (patient_header.stay(hours), patient_header.stay(day)) == ("less than a day", "1 day")


def test_the_timeline_has_a_bar_a_visit_and_marks_the_chosen_one():
    visits = [visit(number) for number in (1, 2, 3)]
    bar = timeline.figure(visits, "v2", code_name, group_name).data[0]
    assert [data[0] for data in bar.customdata] == ["v1", "v2", "v3"]
    assert list(bar.y) == [4.25] * 3
    assert list(bar.marker.color) == [palette.PAST, style.PRIMARY, palette.LATER]
    hover = bar.hovertext[0]
    assert "2 diagnoses" in hover
    assert "name of 10:I509" in hover
    assert "0 procedures" in hover
    assert "group B01A" in hover


def test_the_timeline_marks_visits_with_a_saved_decision():
    visits = [visit(number) for number in (1, 2)]
    decided = {"v2": "Decision of today by dr <b>: 3 of 4 groups to be given"}
    bars, *_, marks = timeline.figure(visits, "v1", code_name, group_name, decided).data
    assert [data[0] for data in marks.customdata] == ["v2"]
    assert marks.y[0] > 4.25
    assert "by dr &lt;b&gt;" in marks.hovertext[0] and "by dr" in bars.hovertext[1]
    assert "by dr" not in bars.hovertext[0]
    assert "Decision saved" in timeline.legend(True)
    assert "Decision saved" not in timeline.legend()


def test_the_timeline_of_a_single_visit_without_discharge_can_be_drawn():
    chart = timeline.figure([visit(discharge_time=None)], "v1", code_name, group_name)
    assert list(chart.data[0].y) == [0]
    low, high = chart.layout.xaxis.range
    assert low < high


# ---------------------------------------------------------------- prompt and notices


def test_the_prompt_is_shown_word_for_word_with_its_sections_emphasised():
    text = "The patient is a woman.\nThis visit.\nDiagnoses: A <b>; C.\nWhich groups?"
    drawn = prompt_panel.as_html(text)
    assert '<span class="lead">This visit.</span>' in drawn
    assert "<b>Diagnoses:</b> A &lt;b&gt;; C." in drawn
    assert '<span class="lead">Which groups?</span>' in drawn


def test_the_notice_says_who_decides_and_what_is_known_only_later():
    assert notice.DECISION_SUPPORT == "Decision support for research. A clinician decides."
    assert "only after" in notice.LIMITS


def test_untrusted_text_is_never_markdown():
    hostile = "![x](http://example.org) **bold** `code` $x$ :red[x]"
    shown = style.literal(hostile)
    assert shown.startswith("\\!\\[x\\]\\(http\\:")
    assert shown.replace("\\", "") == hostile
