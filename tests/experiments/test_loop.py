"""What a stage says and saves while it runs."""

from types import SimpleNamespace

import pytest

from ds_keras.experiments import loop

LOOP = SimpleNamespace(name="stage1", every=1000, clock=None, save=lambda step, began: None)


@pytest.fixture
def now(monkeypatch):
    """The clock: it stands still until a test moves its seconds."""
    clock = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock.seconds)
    return clock


def test_how_long_a_stage_takes_is_said_early_and_once(now, caplog):
    saver = loop._Saver(LOOP, 0, 100.0, 600)
    with caplog.at_level("INFO", "absl"):
        for _ in range(16):  # the first step takes 30 s: it traces the graph
            now.seconds += 3.0 if saver.step else 30.0
            saver.on_train_batch_end(0)
    (said,) = caplog.messages
    assert said == "stage1: 600 steps will take about 30 minutes, without validation"


def test_a_stage_that_goes_on_says_nothing(now, caplog):
    saver = loop._Saver(LOOP, 7, 100.0, 600)
    with caplog.at_level("INFO", "absl"):
        for _ in range(16):
            now.seconds += 3.0
            saver.on_train_batch_end(0)
    assert not caplog.messages


def test_a_checkpoint_is_written_every_minute_inside_an_epoch(now):
    saved = []
    running = SimpleNamespace(**{**vars(LOOP), "save": lambda step, began: saved.append((step, now.seconds))})
    saver = loop._Saver(running, 0, 100.0, 600)
    for _ in range(100):
        now.seconds += 2.5
        saver.on_train_batch_end(0)
    assert saved == [(25, 162.5), (50, 225.0), (75, 287.5), (100, 350.0)]
