"""A card says what came before a version and why it was put in use, as far as that is known."""

import pytest

from engine.permissions import Actor
from engine.registry.history import NONE_KNOWN, SHIPPED_BEFORE, history, with_history
from tests.registry.conftest import SHIPPED

ADMINISTRATOR = Actor("ada", "administrator")
REASON = "seen by the pharmacists"
CARD = "# v\n\n## Version history\n\n- made\n\n## Time and hardware\n\nshort\n"


def test_a_promoted_version_names_what_it_replaced_and_why(registry, candidate):
    registry.promote(ADMINISTRATOR, candidate, SHIPPED, REASON)
    told = " ".join(history(registry, candidate))
    assert f"in place of `{SHIPPED}`" in told
    assert REASON in told and "Registered here" in told


def test_a_candidate_names_the_champion_it_was_compared_with(registry, candidate):
    assert f"`{SHIPPED}`, in use when" in history(registry, candidate)[0]


def test_without_anything_known_it_says_so(registry):
    assert NONE_KNOWN in history(registry, SHIPPED)[0]
    assert history(registry, "named by hand") == [NONE_KNOWN]


@pytest.mark.parametrize("version", SHIPPED_BEFORE)
def test_a_shipped_pair_names_the_one_before(registry, version):
    assert SHIPPED_BEFORE[version][0] in history(registry, version)[0]


def test_the_history_stands_in_its_section_of_the_card(registry, candidate):
    registry.promote(ADMINISTRATOR, candidate, SHIPPED, "because <b>I</b>\n## say so")
    card = with_history(CARD, registry, candidate)
    section = card.partition("## Version history")[2].partition("\n## Time and hardware")[0]
    assert section.startswith("\n\n- made\n- Predecessor: ")
    assert "<b>" not in card and "\n## say" not in card
    assert card.endswith("\n## Time and hardware\n\nshort\n")


def test_a_card_without_such_a_section_stays_as_it_is(registry):
    assert with_history("# another card\n", registry, SHIPPED) == "# another card\n"
