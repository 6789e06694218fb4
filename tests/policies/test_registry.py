"""A policy that is registered runs everywhere, without a change to what runs it."""

import numpy as np
import pytest
import shared
from helpers import close, images, same

from ds_keras import evaluation, policies
from ds_keras.policies import registry
from ds_keras.policies.cascade import Cascade
from ds_keras.routing import predict_routed, replay, routing_spec
from ds_keras.runtime import Session

X = images(24)
LABELS = np.arange(24) % 3


class Careful(policies.SequentialPolicy):
    """Every level in turn, until the margin reaches a number that falls from level to level."""

    name = "careful"

    def __init__(self, spec):
        super().__init__(spec)
        self.order = tuple(range(spec.num_levels))

    def continues(self, confidence, step, settings):
        return confidence < 0.5 / (step + 1)


class Reversed(policies.GatePolicy):
    """The level that the gate likes least."""

    name = "reversed"

    def scores(self, gate_logits, settings):
        return -gate_logits


class Alternating(policies.Policy):
    """Levels in turn, whatever the image."""

    name = "alternating"

    def assign(self, count, logits_by_level=None):
        return (np.arange(count) % self.spec.num_levels).astype("int32")


@pytest.fixture(scope="module")
def model():
    return shared.budgeted()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return shared.one_file("budgeted", tmp_path_factory)


@pytest.fixture(params=[Careful, Reversed, Alternating])
def policy(request):
    registry.register(request.param)
    yield request.param
    registry.unregister(request.param.name)


def by_hand(model, predictions, policy):
    """Levels and multiply-adds, image by image."""
    spec, levels, costs = routing_spec(model), [], []
    for i in range(len(X)):
        level, cost = i % 3, spec.start
        if policy is Reversed:
            level, cost = int(predictions.gate_logits[i].argmin()), cost + spec.gate
        if policy is Careful:
            for level in range(3):
                cost += spec.bodies[level]
                if level == 2 or policies.margin(predictions.logits_by_level[level, i]) >= 0.5 / (level + 1):
                    break
        else:
            cost += spec.bodies[level]
        levels.append(level)
        costs.append(cost)
    return levels, costs


def test_a_new_policy_runs_everywhere(model, path, policy):
    predictions = replay.score(model, X, LABELS)
    levels, costs = by_hand(model, predictions, policy)
    assert len(set(levels)) > 1
    session = Session(path)
    found = {
        "TensorFlow": predict_routed(model, X, policy.name),
        "replay": replay.route(model, predictions, policy.name),
        "LiteRT": session.run(X, policy=policy.name),
        "LiteRT, one by one": policies.Routed(
            *map(np.concatenate, zip(*(session.run(x[None], policy=policy.name) for x in X), strict=True))
        )
        if policy is not Alternating
        else session.run(X, policy=policy.name),
    }
    for routed in found.values():
        same(routed.levels, levels)
        np.testing.assert_allclose(routed.madds, costs, rtol=1e-6)
        close(routed.logits, predictions.logits_by_level[levels, np.arange(len(X))])
    passes = replay.passes(model, predictions, policy.name)
    np.testing.assert_allclose(registry.find(policy.name, routing_spec(model)).madds(passes), costs)


def test_a_new_policy_is_found_by_name(model, path, policy, tmp_path):
    assert policy.name in registry.names(()) and policy.name not in registry.adjustable()
    rows = evaluation.evaluate(model, X, LABELS)["policies"]
    assert policy.name in [row["policy"] for row in rows]
    files = {
        Careful: ["entry_0", "body_1", "body_2"],
        Reversed: ["route", "body_0", "body_1", "body_2"],
        Alternating: ["entry_0", "entry_1", "entry_2"],
    }
    session = Session(path, cache_dir=tmp_path)
    assert session.files(policy.name) == files[policy]
    assert [file.stem for file in session.materialize(policy.name)] == files[policy]
    with pytest.raises(ValueError, match=r"a budget needs a policy of \('gate', 'cascade'\)"):
        model.set_budget(0.5, policy=policy.name)
    times = policies.Times(1.0, [2.0, 4.0, 8.0], judge=0.25, gate=0.5)
    extra = 0.25 * policy.judges + 0.5 * policy.runs_gate
    assert times.of([1, 0, 0], policy.name) == 3 + extra


def test_the_policies_of_the_package():
    assert registry.names() == policies.POLICIES == ("gate", "cascade", "random", "oracle")
    assert registry.names(()) == registry.adjustable() == ("gate", "cascade")
    assert registry.names(("mix", "seed")) == ("gate", "cascade", "random")
    spec = policies.RoutingSpec(10, 2, (5, 20, 90), cascade=(0, 2))
    assert spec.largest == 100 and spec.num_levels == 3
    words = [registry.find(policy, spec).describe() for policy in ("gate", "cascade", 1)]
    assert words == ["the gate", "the cascade over the levels 0, 2", "level 1 for every image"]
    for level, gate, cascade in ((0, [1e9], [0.0]), (1, None, None), (2, [-1e9], None)):
        for name, expected in (("gate", gate), ("cascade", cascade)):
            found = registry.find(name, spec).settings_for(level)
            assert found is None if expected is None else found.tolist() == expected


def test_refused():
    with pytest.raises(ValueError, match="name must be one of its own, received 'cascade'"):
        registry.register(Cascade)

    class Curious(policies.Policy):
        name, needs = "curious", ("weather",)

    with pytest.raises(ValueError, match=r"needs must be some of \('mix', 'seed', 'labels'\), received \('weather',\)"):
        registry.register(Curious)
    assert "curious" not in registry.names()


def test_the_rule_of_the_cascade_stands_once():
    """Whoever runs it asks the policy: no other comparison with a threshold."""
    policy = registry.find("cascade", policies.RoutingSpec(1, 1, (1, 2), (0, 1)))
    assert policy.continues(0.3, 0, [0.5]) and not policy.continues(0.5, 0, [0.5])
    assert not policy.continues(float("nan"), 0, [0.5])  # of a damaged file: the image stays
