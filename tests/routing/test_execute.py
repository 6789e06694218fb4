import numpy as np
import pytest
import tensorflow as tf
from helpers import close, images, in_graph, nano, same, tiny

from ds_keras import policies
from ds_keras.core import cost
from ds_keras.models import DSMobileNet
from ds_keras.policies import Times
from ds_keras.policies.confidence import FEW
from ds_keras.routing import batch, budget
from ds_keras.routing import execute as routing
from ds_keras.routing import replay as curves

COUNT = 40


@pytest.fixture(scope="module")
def x():
    return images(COUNT)


@pytest.fixture(scope="module")
def every(model, x):
    """Logits of every level, one static level at a time: (levels, images, classes)."""
    return np.stack([model(x, level=level) for level in range(4)])


@pytest.fixture(scope="module")
def labels(every):
    """Classes that level 3 gets right mostly, the others sometimes."""
    return np.where(np.arange(COUNT) % 4, every[3].argmax(1), np.arange(COUNT) % 10)


def parts(model):
    start, gate, _ = model.costs[0]
    return start, gate, np.array([part.body for part in model.costs], "float64")


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def check(routed, every, levels, madds):
    levels = np.asarray(levels)
    same(routed.levels, levels)
    close(routed.logits, every[levels, np.arange(len(levels))])
    np.testing.assert_allclose(routed.madds, madds, rtol=1e-6)
    assert routed.levels.dtype == np.int32
    assert routed.logits.dtype == routed.madds.dtype == np.float32


def test_predict_levels_equals_static_levels(model, x, every):
    close(routing.predict_levels(model, x, batch_size=16), every)


@pytest.mark.parametrize("count", [1, 7, COUNT])
@pytest.mark.parametrize("batch_size", [3, 256])
def test_random_mix_keeps_the_order(model, x, every, count, batch_size):
    start, _, body = parts(model)
    routed = model.predict_routed(x[:count], policy="random", seed=3, batch_size=batch_size)
    check(routed, every[:, :count], routed.levels, start + body[routed.levels])
    if count == COUNT:
        assert set(routed.levels) == {0, 1, 2, 3}
        same(model.predict_routed(x, policy="random", seed=3).levels, routed.levels)
        assert np.any(model.predict_routed(x, policy="random", seed=4).levels != routed.levels)


def test_each_image_alone_gives_the_same(model, x):
    together = model.predict_routed(x[:8], policy="gate")
    for i in range(8):
        alone = model.predict_routed(x[i : i + 1], policy="gate")
        close(alone.logits[0], together.logits[i])
        assert alone.levels[0] == together.levels[i]


@pytest.mark.parametrize("mix", [(0, 0.5, 0, 0.5), (0, 0, 1, 0)])
def test_empty_buckets(model, x, every, mix):
    start, _, body = parts(model)
    routed = model.predict_routed(x, policy="random", mix=mix, seed=0)
    assert set(routed.levels) == {k for k, p in enumerate(mix) if p}
    check(routed, every, routed.levels, start + body[routed.levels])


@pytest.mark.parametrize("policy", ["gate", "cascade", "random", "oracle", 2])
def test_no_images(model, x, policy):
    labels = np.zeros(0, int) if policy == "oracle" else None
    routed = model.predict_routed(x[:0], policy=policy, labels=labels)
    assert routed.logits.shape == (0, 10)
    assert routed.levels.shape == routed.madds.shape == (0,)


def test_no_images_for_every_level(model, x):
    assert routing.predict_levels(model, x[:0]).shape == (4, 0, 10)
    assert routing.gate_logits(model, x[:0]).shape == (0, 4)


def test_gate_takes_the_argmax_of_route(model, x, every):
    start, gate, body = parts(model)
    logits = np.array(model.route(x))
    levels = logits.argmax(1)
    assert len(set(levels)) >= 3
    routed = model.predict_routed(x, policy="gate")
    check(routed, every, levels, start + gate + body[levels])
    close(model(x), routed.logits)
    close(routing.gate_logits(model, x) - model.gate_shift * body / body[-1], logits)


def margins(logits):
    """Largest probability less the second, sorted out by hand."""
    ordered = np.sort(softmax(logits), axis=-1)
    return ordered[..., -1] - ordered[..., -2]


@pytest.mark.parametrize(("small", "large"), [(1, 2), pytest.param(0, 3, marks=pytest.mark.slow)])
def test_cascade_of_two_by_hand(x, every, small, large):
    model = tiny(cascade=(small, large), default_policy="cascade")
    start, _, body = parts(model)
    confidence = margins(every[small])
    few, many = np.quantile(confidence, [0.26, 0.74])
    for threshold, share in ((0.0, 0), (few, 0.275), (many, 0.725), (1.01, 1)):
        model.cascade_thresholds.assign([threshold, 0, 0])
        again = confidence < threshold
        assert again.mean() == share
        routed = model.predict_routed(x)
        check(routed, every, np.where(again, large, small), start + body[small] + again * body[large])
        close(model(x), routed.logits)


@pytest.mark.parametrize("chain", [(0, 1, 3), pytest.param((0, 1, 2, 3), marks=pytest.mark.slow)])
def test_cascade_of_several_by_hand(x, every, chain):
    model = tiny(cascade=chain, default_policy="cascade")
    start, _, body = parts(model)
    thresholds = [np.quantile(margins(every[k]), 0.6) for k in chain[:-1]]
    model.cascade_thresholds.assign(np.pad(thresholds, (0, 4 - len(chain))))
    levels, costs = np.zeros(COUNT, int), np.full(COUNT, float(start))
    for i in range(COUNT):
        for level, threshold in zip(chain, [*thresholds, -1], strict=True):
            levels[i], costs[i] = level, costs[i] + body[level]
            if margins(every[level, i]) >= threshold:
                break
    assert set(levels) == set(chain)
    routed = model.predict_routed(x)
    check(routed, every, levels, costs)
    close(model(x), routed.logits)
    close(model.predict_routed(x, batch_size=7).logits, routed.logits)


def test_margin_is_the_same_in_numpy_and_tensorflow():
    logits = np.random.default_rng(0).normal(0, 5, (200, 10)).astype("float32")
    close(policies.margin(logits), margins(logits))
    np.testing.assert_allclose(batch.margin(tf.constant(logits)), policies.margin(logits), atol=1e-6)
    same(policies.margin(np.array([[3, 3, 1], [900, -900, 0]], "float32")), np.array([0, 1], "float32"))


@pytest.mark.parametrize("classes", [2, FEW, FEW + 1])
def test_margin_of_one_row_is_that_of_a_batch(classes):
    logits = np.random.default_rng(0).normal(0, 5, (20, classes)).astype("float32")
    close([policies.margin(row) for row in logits], policies.margin(logits), tolerance=1e-6)
    logits[0, :2] = np.nan, -3e38  # of a damaged bundle made to look whole: nothing is raised, the image stays
    assert not policies.margin(logits[0]) < 1.01


def test_margin_keeps_the_axes_of_many_networks():
    logits = np.random.default_rng(0).normal(0, 5, (3, 4, 5)).astype("float32")
    same(policies.margin(logits), np.stack([policies.margin(each) for each in logits]))


@pytest.mark.parametrize("chain", [(0,), (0, 0), (2, 1), (0, 4), (-1, 2), (0, 1.0), "01", 3, ["a", "b"], (True, 2)])
def test_bad_cascade(chain):
    with pytest.raises(ValueError, match=r"cascade must be two or more levels in \[0, 4\)"):
        DSMobileNet.tiny(10, cascade=chain)


def test_another_chain_starts_from_thresholds_of_its_own():
    model = tiny(cascade=(2, 3))
    model.cascade_thresholds.assign([0.9, 0.0, 0.0])
    model.cascade = (2, 3)
    same(model.cascade_thresholds, np.array([0.9, 0, 0], "float32"))
    model.cascade = (0, 1, 3)
    same(model.cascade_thresholds, np.full(3, 0.5, "float32"))


@pytest.mark.parametrize("level", [0, 2, np.int64(3)])
def test_fixed_level(model, x, every, level):
    check(model.predict_routed(x, policy=level), every, np.full(COUNT, level), cost.madds(model, int(level)))


def test_oracle_takes_the_cheapest_right_level(model, x, every, labels):
    start, _, body = parts(model)
    right = every.argmax(-1) == labels
    levels = [next((k for k in range(4) if right[k, i]), 0) for i in range(COUNT)]
    assert len(set(levels)) >= 3
    assert not right.any(0).all()
    check(model.predict_routed(x, policy="oracle", labels=labels), every, levels, start + body[levels])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": "best"}, "policy must be one of"),
        ({"policy": 4}, "or an integer level in"),
        ({"policy": "oracle"}, "needs labels of shape"),
        ({"policy": "oracle", "labels": [1, 2]}, r"needs labels of shape \(40,\), received \(2,\)"),
        ({"policy": "random", "mix": [0.5, 0.5]}, "mix must hold 4 probabilities"),
        ({"policy": "random", "mix": [0.5, 0.5, 0.5, -0.5]}, "mix must hold 4 probabilities"),
        ({"policy": "random", "mix": [0.5, 0.5, 0.5, 0.5]}, "add up to 1"),
        ({"policy": "random", "mix": [np.nan, 0.5, 0.5, 0]}, "add up to 1"),
        ({"policy": "random", "budget": 0.5}, "a budget needs a policy of"),
        ({"policy": 1, "budget": 0.5}, "a budget needs a policy of"),
        ({"policy": "gate", "budget": 0.5}, "no budget table"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_arguments(model, x, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.predict_routed(x, **arguments)


# --- budgets


@pytest.fixture(scope="module")
def measured():
    """A model with its budget table, the images and the labels that the table was measured on."""
    model, x = tiny(seed=5, gate_hidden=8), images(200, seed=3)
    labels = routing.predict_levels(model, x)[3].argmax(1)
    labels[::10] = (labels[::10] + 1) % 10
    budget.measure_budget(model, x, labels)
    return model, x, labels


def test_table_is_by_rising_cost_and_true(measured):
    model, x, labels = measured
    assert set(model.budget_table) == {"gate", "cascade", "levels"}
    for policy, rows in model.budget_table.items():
        assert np.all(np.diff([row[1] for row in rows]) >= 0)
        for settings, madds, accuracy, _ in rows[:: max(1, len(rows) // 5)]:
            if policy == "levels":
                routed = model.predict_routed(x, policy=settings[0])
            else:
                routed = routing.Routed(*model.graphs["policy"](tf.constant(x), policy, tf.constant(settings)))
            assert np.mean(routed.madds) == pytest.approx(madds, rel=1e-4)
            assert np.mean(np.argmax(routed.logits, 1) == labels) == pytest.approx(accuracy, abs=0.011)
    costs = [row[1] for row in model.budget_table["gate"]]
    start, gate, body = parts(model)
    assert costs[0] == pytest.approx(start + gate + body[0])
    assert costs[-1] == pytest.approx(start + gate + body[3])
    rows, chain = model.budget_table["cascade"], list(model.cascade)
    assert rows[0][1] == pytest.approx(start + body[chain[0]])
    assert rows[-1][1] == pytest.approx(start + body[chain].sum())


@pytest.mark.parametrize("policy", ["gate", "cascade"])
def test_budget_asked_is_budget_spent(measured, policy):
    model, x, _ = measured
    largest = cost.madds(model, 3)
    costs = [row[1] / largest for row in model.budget_table[policy]]
    for fraction in np.linspace(costs[0], costs[-1], 7):
        model.set_budget(madds=fraction * largest, policy=policy)
        routed = model.predict_routed(x, policy=policy)
        assert routed.madds.mean() / largest == pytest.approx(fraction, rel=0.05)
        if fraction > 1:
            continue
        same(model.predict_routed(x, policy=policy, budget=fraction).levels, routed.levels)
        model.set_budget(fraction=fraction, policy=policy)
        same(model.predict_routed(x, policy=policy).levels, routed.levels)


def test_passes_are_what_a_row_costs(measured):
    model, x, _ = measured
    start, gate, body = parts(model)
    table = model.budget_table
    for policy, rows in table.items():
        for row in rows:
            assert start + gate * (policy == "gate") + np.dot(row[3], body) == pytest.approx(row[1], rel=1e-4)
    model.budget_table = {policy: [row[:3] for row in rows] for policy, rows in table.items()}
    with pytest.raises(ValueError, match="the budget table lacks the passes of each level"):
        model.set_budget(milliseconds=1.0, times=Times(0.0, [1.0] * 4))
    assert budget.measure_passes(model, x) == table == model.budget_table


@pytest.mark.parametrize("policy", ["gate", "cascade"])
@pytest.mark.parametrize("bodies", [[1.0, 2.0, 3.0, 9.0], [1.0, 5.0, 2.0, 9.0], [1.0, 1.0, 1.0, 1.0]])
def test_milliseconds_asked_are_spent_or_saved(measured, policy, bodies):
    """Also where a device runs a larger level faster than a smaller one."""
    model, x, labels = measured
    times, predictions = Times(0.5, bodies, 0.125, 0.25), curves.score(model, x, labels)
    spent = times.of([row[3] for row in model.budget_table[policy]], policy)
    for milliseconds in np.linspace(spent[0], spent.max(), 7):
        settings = budget.settings_for(model, policy, milliseconds=milliseconds, times=times)
        found = times.of(curves.passes(model, predictions, policy, settings).mean(0), policy)
        assert found <= milliseconds * 1.05
        if bodies == sorted(bodies) and bodies[0] != bodies[-1]:
            assert found == pytest.approx(milliseconds, rel=0.05)


def test_milliseconds_need_times_of_every_level(measured):
    model, *_ = measured
    for times, message in ((None, "milliseconds needs times"), (Times(1.0, [1.0]), "times must have 4 bodies")):
        with pytest.raises(ValueError, match=message):
            model.set_budget(milliseconds=1.0, times=times, policy="gate")


def test_set_budget_does_not_retrace(measured, x):
    model, *_ = measured
    serve = in_graph(lambda x: model(x))
    model.set_budget(fraction=0.8, policy="gate")
    before, _ = serve(x), model.predict_routed(x, policy="gate")
    counts = serve.experimental_get_tracing_count(), model.graphs["policy"].traces
    model.set_budget(fraction=0.5, policy="gate")
    assert np.abs(serve(x) - before).max() > 0.01
    close(serve(x), model.predict_routed(x, policy="gate").logits)
    assert counts == (serve.experimental_get_tracing_count(), model.graphs["policy"].traces)


@pytest.mark.parametrize("policy", ["gate", "cascade"])
@pytest.mark.parametrize("fraction", [0.01, float("nan")])
def test_unreachable_budget_names_the_least(measured, policy, fraction):
    model, *_ = measured
    least = f"must be at least {model.budget_table[policy][0][1] / 1e6:.3f} MMAdds"
    with pytest.raises(ValueError, match=least):
        model.set_budget(fraction=fraction, policy=policy)


@pytest.mark.parametrize("policy", ["gate", "cascade"])
def test_a_generous_budget_is_the_tables_last_row(measured, policy):
    model, *_ = measured
    settings = model.budget_table[policy][-1][0]
    for madds in (1.9 * cost.madds(model, 3), float("inf")):
        same(budget.settings_for(model, policy, madds=madds), np.array(settings, "float32"))


@pytest.mark.parametrize("images", [np.zeros((8, 8, 1)), np.zeros((4, 8, 8)), "a.png"])
def test_what_is_no_set_of_images(model, images):
    with pytest.raises(ValueError, match=r"images must be numbers of shape \(count, 8, 8, 1\), received"):
        model.predict_routed(images)


def test_measured_chain_is_the_one_asked_for_or_the_best():
    model, x = tiny(seed=5), images(60, seed=3)
    labels = routing.predict_levels(model, x)[3].argmax(1)
    budget.measure_budget(model, x, labels, points=9, cascade=(1, 3))
    assert model.cascade == (1, 3) and {len(row[0]) for row in model.budget_table["cascade"]} == {1}
    budget.measure_budget(model, x, labels, points=9)
    assert {len(row[0]) for row in model.budget_table["cascade"]} == {len(model.cascade) - 1}
    for chain, message in (((0, 1, 2, 3), "at most 3 levels"), ((3, 1), "smaller ones first")):
        with pytest.raises(ValueError, match=message):
            budget.measure_budget(model, x, labels, cascade=chain)


def test_what_was_traced_follows_the_policy(x):
    model = nano(cascade=(0, 1), default_policy="cascade")
    every = [model(x, level=level) for level in range(3)]
    for chain in ((0, 1), (0, 1, 2)):
        model.cascade = chain
        model.cascade_thresholds.assign([1.01, 1.01])  # everything goes on to the last level
        close(model.predict(x, COUNT, verbose=0), every[chain[-1]])
        close(model.predict_routed(x).logits, every[chain[-1]])
    model.default_policy = 1
    close(model.predict(x, COUNT, verbose=0), every[1])


def test_another_chain_has_no_table_until_it_is_measured():
    model, x = tiny(), images(40, seed=3)
    labels = routing.predict_levels(model, x)[3].argmax(1)
    budget.measure_budget(model, x, labels, points=5, cascade=(0, 1, 3))
    table = model.budget_table
    model.cascade = (0, 1, 3)
    assert model.budget_table == table
    model.cascade = (0, 3)
    assert model.budget_table == {name: rows for name, rows in table.items() if name != "cascade"}
    with pytest.raises(ValueError, match="no budget table"):
        model.set_budget(0.5, policy="cascade")
    budget.measure_budget(model, x, labels, points=5, cascade=(0, 3))
    spent = model.predict_routed(x, policy="cascade", budget=0.5).madds.mean() / cost.madds(model, 3)
    assert spent == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"policy": 0, "mix": [1, 0, 0, 0]},
            r"mix belongs to policy 'random', received mix=\[1, 0, 0, 0\] with policy=0",
        ),
        ({"policy": "gate", "seed": 1}, "seed belongs to policy 'random', received seed=1 with policy='gate'"),
        ({"policy": "cascade", "labels": [1]}, "labels belongs to policy 'oracle'"),
        ({"policy": 1, "settings": [5.0]}, "settings belongs to policy 'gate' or 'cascade'"),
        (
            {"policy": "gate", "settings": [0.1, 0.2]},
            r"settings must have shape \(1,\) for policy 'gate', received \[0.1, 0.2\]",
        ),
        ({"policy": "cascade", "settings": []}, r"settings must have shape \(1,\) for policy 'cascade', received \[\]"),
    ],
)
def test_arguments_that_a_policy_cannot_use(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        routing.predict_routed(model, images(2), **arguments)


def test_another_size_is_refused_alike():
    """What images of it cost is not what the table says. Training takes it."""
    model, x = tiny(), images(4, 16)
    assert model(x, level=0, training=True).shape == (4, 10)
    calls = [model, lambda x: model(x, level=0), lambda x: model(x, level=tf.constant(1)), model.predict_routed]
    message = r"numbers of shape \(count, 8, 8, 1\), received float32 \(4, 16, 16, 1\): model\.classify takes photos"
    for use in (*calls, lambda x: routing.predict_levels(model, x)):
        with pytest.raises(ValueError, match=message):
            use(x)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(model, x, value):
    x = x.copy()
    x[3, 2, 1] = value
    with pytest.raises(ValueError, match="images must be finite, received values from"):
        model.predict_routed(x)


def test_bad_measurements(measured):
    model, *_ = measured
    for points in (1, 0, 2.5):
        with pytest.raises(ValueError, match=f"points must be an integer of at least 2, received {points}"):
            budget.measure_budget(model, images(4), np.zeros(4, int), points=points)


def test_budget_errors(measured):
    model, *_ = measured
    for arguments in ({}, {"fraction": 0.5, "madds": 1e6}, {"fraction": 0.5, "milliseconds": 1.0}):
        with pytest.raises(ValueError, match="exactly one of fraction, madds, milliseconds"):
            model.set_budget(**arguments)
    for policy in ("random", "oracle", 1):
        with pytest.raises(ValueError, match="a budget needs a policy of"):
            model.set_budget(fraction=0.5, policy=policy)
    with pytest.raises(ValueError, match="no budget table"):
        DSMobileNet.tiny(10).set_budget(fraction=0.5)


def test_the_table_survives_equal_levels():
    """Neighbouring levels may have equal widths, and so equal costs."""
    stages = DSMobileNet.tiny(3).table["stages"][:1]
    stages += tuple(type(stages[0])((8, 8, 16), 1, gate=i == 0) for i in range(2))
    model = DSMobileNet(4, stages, 3, (8, 8, 1))
    table = budget.measure_budget(model, images(20), np.zeros(20, int), points=5)
    assert np.isfinite([row[1] for row in table["gate"]]).all()
