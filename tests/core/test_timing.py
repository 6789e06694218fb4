"""What is said of work that takes long."""

from types import SimpleNamespace

import pytest

from ds_keras.core import timing


@pytest.mark.parametrize(("batches", "total"), [("abc", " of 3"), ((letter for letter in "abc"), "")])
def test_progress_of_slow_batches_is_logged(batches, total, monkeypatch, caplog):
    clock = iter([0.0, 6.0, 12.0, 18.0])  # a batch takes six seconds
    monkeypatch.setattr(timing, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with caplog.at_level("INFO", "absl"):
        assert list(timing.counted(batches, "net: features")) == ["a", "b", "c"]
    assert caplog.messages == [f"net: features: 2{total} batches"]


def test_quick_batches_say_nothing(caplog):
    with caplog.at_level("INFO", "absl"):
        assert list(timing.counted(range(5), "net: features")) == [0, 1, 2, 3, 4]
    assert not caplog.messages


@pytest.mark.parametrize(("own", "said"), [({3}, "1 core"), ({0, 5, 6}, "3 cores")])
def test_the_cores_of_a_pinned_process(own, said, monkeypatch):
    monkeypatch.setattr(timing.os, "sched_getaffinity", lambda process: own, raising=False)
    assert timing.cores() == said
