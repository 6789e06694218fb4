"""What is measured and how rows look; never how long it took."""

from itertools import pairwise

import numpy as np
import pytest
from helpers import nano, pair

from ds_keras.benchmarks import supernet as benchmark
from ds_keras.core import timing

FIELDS = {"what", "level", "kind", *timing.Paired._fields}


def well_formed(rows):
    for row in rows:
        assert set(row) == FIELDS
        assert all(np.isfinite(row[name]) and row[name] > 0 for name in timing.Paired._fields)


def test_paired_by_hand(monkeypatch):
    """A clock that only the two functions move: A takes 2, 4, 6 ms in turn, B always 2 ms."""
    now, order, steps = [0.0], [], iter([9.0, 9.0, 2.0, 4.0, 6.0])

    def spend(name, milliseconds):
        order.append(name)
        now[0] += milliseconds / 1e3

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    result = timing.paired(lambda: spend("a", next(steps)), lambda: spend("b", 2.0), rounds=3, warmup=2)
    assert result == pytest.approx((4.0, 2.0, 2.0, 2.8, 5.6, 2.0))  # the 90 % points of 1, 2, 3 and of 2, 4, 6
    assert result.of_one(2) == pytest.approx((2.0, 1.0, 2.0, 2.8, 2.8, 1.0))
    assert len(order) == 10 and order.count("a") == 5
    pairs = ["".join(order[i : i + 2]) for i in range(0, 10, 2)]
    assert set(pairs) == {"ab", "ba"} and all(a != b for a, b in pairwise(pairs))


def test_slicing():
    rows = benchmark.slicing(pair(), 2, rounds=3)
    well_formed(rows)
    assert [(row["what"], row["level"], row["kind"]) for row in rows] == [
        ("slicing", level, kind) for level in range(2) for kind in ("int", "tensor")
    ]


def test_the_fused_network_is_the_same_network():
    model, x = nano(), benchmark._images(nano(), 3)
    plain = benchmark.subnet(model, 1)
    fused = benchmark._fused(plain)
    assert any(type(layer) is benchmark._FusedBatchNormalization for layer in fused.layers)
    np.testing.assert_allclose(fused(x, training=False), plain(x, training=False), atol=1e-5)


def test_routed_batch():
    rows = benchmark.routed_batch(pair(), 7, rounds=3)
    well_formed(rows)
    assert [(row["what"], row["level"]) for row in rows] == [("routed batch", "even mix")]


@pytest.mark.slow
def test_stage1_step():
    model = pair()
    before = np.array(model.classifier.kernel)
    rows = benchmark.stage1_step(model, 4, rounds=3)
    well_formed(rows)
    assert [(row["what"], row["level"]) for row in rows] == [("Stage I step", "[1, 1, 0, 0]")]
    assert np.abs(np.array(model.classifier.kernel) - before).max() > 0


def test_pipeline():
    rows = benchmark.pipeline(pair(), 4, rounds=3)
    well_formed(rows)
    assert [(row["what"], row["level"]) for row in rows] == [("pipeline", "a batch")]
