"""What is said of work that takes long."""

from ds_keras.core import timing


def test_progress_of_slow_batches_is_logged(monkeypatch, caplog):
    clock = iter([0.0, 6.0, 12.0, 12.0, 18.0])  # a batch takes six seconds; the line of the second asks twice
    monkeypatch.setattr(timing.time, "monotonic", lambda: next(clock))
    with caplog.at_level("INFO", "absl"):
        assert list(timing.counted("abc", "net: features")) == ["a", "b", "c"]
    assert caplog.messages == ["net: features: 2 batches done"]


def test_quick_batches_say_nothing(caplog):
    with caplog.at_level("INFO", "absl"):
        assert list(timing.counted(range(5), "net: features")) == [0, 1, 2, 3, 4]
    assert not caplog.messages
