"""Terminology sentences: true, of every kind, in a fixed order, and the check is kept apart."""

from itertools import islice

from engine.teacher import terminology_text


def some(count: int, seed: int = 0) -> list[str]:
    return list(islice(terminology_text.sentences(seed), count))


def test_the_order_is_fixed_by_the_seed():
    assert some(50) == some(50)
    assert some(50) != some(50, seed=1)


def test_what_is_held_out_is_never_trained_on():
    held_out = terminology_text.held_out(200, seed=0)
    assert len(set(held_out)) == 200
    assert not set(held_out) & set(some(40_000))


def test_a_code_is_told_in_both_directions_and_in_its_place():
    facts = terminology_text._every_fact()["diagnoses"]
    title = "Type 2 diabetes mellitus without complications"
    assert f"ICD-10 diagnosis code E11.9 means: {title}." in facts
    assert f"{title} has the ICD-10 diagnosis code E11.9." in facts
    assert f"E11.9, {title}, is a kind of E11, Type 2 diabetes mellitus." in facts
    assert (
        f"{title} belongs to the block E08-E13, Diabetes mellitus in the chapter E00-E89, "
        "Endocrine, nutritional and metabolic diseases."
    ) in facts


def test_old_codes_meet_their_new_ones():
    assert (
        "ICD-9 code 428.0, Congestive heart failure, unspecified, is in ICD-10 I50.9, "
        "Heart failure, unspecified."
    ) in terminology_text._every_fact()["equivalents"]


def test_groups_meet_their_drugs_and_brands():
    facts = terminology_text._every_fact()["medications"]
    assert "Warfarin belongs to the medication group B01A, Antithrombotic agents." in facts
    assert any(
        fact.startswith("The medication group B01A, Antithrombotic agents includes ")
        for fact in facts
    )
    assert "Coumadin is another name of warfarin." in facts


def test_a_category_is_named_only_where_its_titles_say_its_name():
    names = terminology_text._category_names()
    assert names["E11"] == "Type 2 diabetes mellitus"
    assert "T57" not in names  # "Toxic effect of …" is the start of its titles, not its name
