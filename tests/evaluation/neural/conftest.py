import pytest

from engine.evaluation.neural.training import Settings
from engine.records.vocabulary import Vocabulary
from tests.evaluation.planted import planted_visits


@pytest.fixture(scope="session")
def planted():
    """Training, validation, test and vocabulary of a rule that a network can learn."""
    visits = planted_visits(400, seed=2)
    train, validation, test = visits[:280], visits[280:340], visits[340:]
    return train, validation, test, Vocabulary.from_visits(train)


@pytest.fixture(scope="session")
def quick() -> Settings:
    """Settings that learn the planted rule in a second or two."""
    return Settings(size=16, dropout=0.0, learning_rate=1e-2, batch_size=16, epochs=25, patience=25)
