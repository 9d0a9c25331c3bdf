from engine.terminology import atc


def test_groups_have_plain_names():
    assert atc.name("B01A") == "Antithrombotic agents"
    assert atc.name("N02A") == "Opioid analgesics"


def test_an_unknown_code_is_its_own_name():
    assert atc.name("Z99Z") == "Z99Z"


def test_all_third_level_groups_are_there_with_their_parents():
    groups = atc.groups()
    assert len(groups) >= 260
    assert all(atc.name(code[:1]) != code[:1] for code in groups)
    assert all(atc.name(code[:3]) != code[:3] for code in groups)
