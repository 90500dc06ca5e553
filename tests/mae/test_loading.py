"""What is imported at the start is passed over by later looks for garbage."""

import gc
import sys

import pytest

from mae.loading import loading


@pytest.fixture
def frozen():
    """How many objects are passed over; none at first."""
    gc.unfreeze()
    yield gc.get_freeze_count
    gc.freeze()


def test_what_is_loaded_is_passed_over_from_then_on(frozen, monkeypatch):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with loading():
        assert not gc.isenabled()
        import this  # noqa: F401
    assert gc.isenabled()
    assert frozen() > 1000


def test_where_nothing_had_to_be_loaded_nothing_else_is_kept(frozen):
    with loading():
        import gc as again  # noqa: F401
    assert gc.isenabled()
    assert frozen() == 0


def test_what_cannot_be_loaded_leaves_all_as_it_was():
    with pytest.raises(ImportError), loading():
        raise ImportError("no such module")
    assert gc.isenabled()
