"""What the tests of pages share: an app that somebody has signed in to."""

import pytest

from tests.app import signing_in


@pytest.fixture
def signed_in():
    """Return `signed_in(role)`: the app with a session of that role, not run yet.

    The environment names the installation (WORKBENCH_DATA) before it is called.
    """
    return signing_in.signed_in
