"""What the tests of retraining share: an installation, and workers whose children train nothing."""

from collections.abc import Callable

import pytest

from engine.installation import Installation
from engine.jobs import worker
from engine.jobs.client import Client
from engine.jobs.retraining import Request
from tests.jobs import stand_in


@pytest.fixture
def installation(tmp_path) -> Installation:
    return Installation(tmp_path / "data")


@pytest.fixture
def client(installation) -> Client:
    return Client(installation)


@pytest.fixture
def tiny_request(tiny_cohort, tiny_recipe) -> Request:
    return Request(str(tiny_cohort), tiny_recipe.model_dump(mode="json"))


@pytest.fixture
def stand_ins(monkeypatch) -> None:
    """Let workers of this process look often, and start `tests.jobs.stand_in`."""
    monkeypatch.setattr(worker, "CHILD", stand_in.MODULE)
    monkeypatch.setattr(worker, "POLL", 0.1)
    monkeypatch.setenv("STAND_IN_WORKER", "here")


@pytest.fixture
def order(installation) -> Callable[[str, str | None], None]:
    """Tell a stage what to do (see `tests.jobs.stand_in`), or nothing any more."""

    def give(stage: str, words: str | None) -> None:
        file = installation.folder / "orders" / stage
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(words) if words else file.unlink()

    return give
