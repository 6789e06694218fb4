import pytest
import shared


@pytest.fixture(scope="session")
def network():
    """Three levels, images of different levels, a budget table: do not change it."""
    return shared.budgeted()


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    """Its bundle, in one file."""
    return shared.one_file("budgeted", tmp_path_factory)
