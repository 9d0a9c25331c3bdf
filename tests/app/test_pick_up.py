"""A promotion while the app runs: the next answer is the new version's, without a restart."""

import json
import shutil
from concurrent.futures import wait

import pytest
import streamlit as st

from app import session
from app.models import Following
from engine.installation import Installation
from engine.permissions import SYSTEM
from engine.records.cohort import Cohort
from engine.registry.pair import MANIFEST, seal
from engine.registry.versions import Registry
from tests.app import signing_in

SHIPPED, OTHER = "shipped-20260101-00000000", "tiny-20260202-11111111"
REASON = "seen by the pharmacists"


@pytest.fixture
def registry(tiny_cohort, tiny_pair, tmp_path, monkeypatch) -> Registry:
    """A running installation with a shipped champion and one candidate; the test looks itself."""
    pretrained = tmp_path / "pretrained"
    for name, folder in ((SHIPPED, pretrained / SHIPPED), (OTHER, tmp_path / "pair")):
        shutil.copytree(tiny_pair, folder)
        manifest = json.loads((folder / MANIFEST).read_text())
        del manifest["files"]
        seal(folder, {**manifest, "version": name})
    (pretrained / "aliases.json").write_text(json.dumps({"champion": SHIPPED}))
    monkeypatch.setattr("engine.registry.aliases.PRETRAINED", pretrained)
    monkeypatch.setenv("WORKBENCH_COHORT", str(tiny_cohort))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("WORKBENCH_MODELS", raising=False)
    monkeypatch.setattr(Following, "watch", lambda following: following)
    st.cache_data.clear()
    st.cache_resource.clear()
    registry = Registry(Installation.current(), pretrained)
    registry.register(SYSTEM, tmp_path / "pair", {})
    return registry


def following() -> Following:
    return session._following(str(session.data_folder()), session.named_pair())


def draw(app) -> str:
    """Draw the page when the models have loaded; return the versions that it names."""
    models = session.models()
    wait([models.student, models.tokenizer], timeout=120)
    app.run()
    if "teacher_questions" in app.session_state:
        wait(app.session_state["teacher_questions"].values(), timeout=120)
        app.run()
    assert not app.exception
    assert not app.error
    return "\n".join(str(element.body) for element in app.html)


def test_a_promoted_version_answers_the_next_question(registry, tiny_cohort):
    app = signing_in.signed_in("clinician").run()
    app.session_state["patient_id"] = Cohort.open(tiny_cohort).patient_ids()[0]
    app.switch_page("views/recommend.py").run()
    assert SHIPPED in draw(app)

    registry.promote(SYSTEM, OTHER, SHIPPED, REASON)
    while_loading = draw(app)
    assert SHIPPED in while_loading
    assert OTHER not in while_loading
    following().look()
    wait([following()._next.student if following()._next else session.models().student])
    following().look()
    after = draw(app)
    assert OTHER in after
    assert SHIPPED not in after
    assert session.pick_up_note() == ""

    registry.roll_back(SYSTEM, OTHER, REASON)
    following().look()
    wait([following()._next.student if following()._next else session.models().student])
    following().look()
    assert SHIPPED in draw(app)


def test_a_version_that_breaks_after_its_promotion_leaves_the_old_one_answering(registry):
    wait([session.models().student], timeout=120)
    registry.promote(SYSTEM, OTHER, SHIPPED, REASON)
    (registry.folder(OTHER) / "student.safetensors").write_bytes(b"noise")
    following().look()
    if following()._next is not None:
        wait([following()._next.student], timeout=120)
    following().look()
    assert session.models().student.result().versions["student"].startswith(SHIPPED)
    assert "student.safetensors" in session.pick_up_note()


def test_a_pair_named_by_hand_is_kept_and_the_page_says_so(
    registry, tiny_cohort, tiny_pair, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_MODELS", str(tiny_pair))
    app = signing_in.signed_in("clinician").run()
    app.session_state["patient_id"] = Cohort.open(tiny_cohort).patient_ids()[0]
    app.switch_page("views/recommend.py").run()
    own = json.loads((tiny_pair / MANIFEST).read_text())["version"]
    registry.promote(SYSTEM, OTHER, SHIPPED, REASON)
    following().look()
    assert own in draw(app)
    assert any("named by hand" in caption.value for caption in app.caption)
