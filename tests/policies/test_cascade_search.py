import itertools

import numpy as np
import pytest

from ds_keras import policies
from ds_keras.policies import cascade_search as cascades

START, BODIES = 10.0, np.array([20.0, 50.0, 130.0])


@pytest.fixture(scope="module")
def held_out():
    """Logits of three levels, better and better, for 300 images of four classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    hard = rng.normal(0, 1.5, (300, 4))
    signal = np.eye(4)[labels]
    every = [hard / (k + 1) + (2 + k) * signal + rng.normal(0, 1 / (k + 1), (300, 4)) for k in range(3)]
    return np.stack(every).astype("float32"), labels


def simulate(every, labels, chain, thresholds):
    """Average cost and accuracy, image by image."""
    cost, right = 0.0, 0
    for i, label in enumerate(labels):
        cost += START
        for level, threshold in zip(chain, [*thresholds, -1], strict=True):
            cost += BODIES[level]
            if policies.margin(every[level, i]) >= threshold:
                break
        right += every[level, i].argmax() == label
    return cost / len(labels), right / len(labels)


@pytest.mark.parametrize("chain", [(0, 2), (1, 2), (0, 1, 2)])
def test_a_path_says_what_running_it_gives(held_out, chain):
    path = cascades.search(*held_out, START, BODIES, points=9, chains=[chain])
    assert path.chain == chain and path.thresholds.shape == (len(path.madds), len(chain) - 1)
    for thresholds, madds, accuracy in list(zip(*path[1:], strict=True))[::2]:
        assert simulate(*held_out, chain, thresholds) == pytest.approx((madds, accuracy))


@pytest.mark.parametrize("chain", [(0, 2), (0, 1, 2)])
def test_no_threshold_ever_falls(held_out, chain):
    path = cascades.search(*held_out, START, BODIES, points=9, chains=[chain])
    assert np.all(np.diff(path.thresholds, axis=0) >= 0) and np.all(np.diff(path.madds) >= 0)
    assert len(path.madds) == 8 * (len(chain) - 1) + 1
    assert not path.thresholds[0].any() and np.all(path.thresholds[-1] > 1)
    assert path.madds[0] == START + BODIES[chain[0]]
    assert path.madds[-1] == pytest.approx(START + BODIES[list(chain)].sum())


@pytest.mark.parametrize("count", [1, 2, 3, 8, 19, 20, 21, 40])
@pytest.mark.parametrize("chain", [(0, 2), (0, 1, 2)])
def test_few_images_keep_the_order_too(held_out, chain, count):
    every, labels = held_out[0][:, :count], held_out[1][:count]
    path = cascades.search(every, labels, START, BODIES, chains=[chain])
    assert np.all(np.diff(path.thresholds, axis=0) >= 0) and np.all(np.diff(path.madds) >= 0)
    for thresholds, madds, accuracy in list(zip(*path[1:], strict=True))[::7]:
        assert simulate(every, labels, chain, thresholds) == pytest.approx((madds, accuracy))


def test_no_other_path_has_a_larger_area():
    rng = np.random.default_rng(1)
    madds = np.cumsum(np.cumsum(rng.uniform(0, 1, (4, 4)), 0), 1)
    accuracy = rng.uniform(0, 1, (4, 4))

    def area(steps):
        along = tuple(np.array(steps).T)
        return np.trapezoid(accuracy[along], madds[along])

    found = cascades._best_steps(madds, accuracy)
    every = []
    for moves in set(itertools.permutations([0, 0, 0, 1, 1, 1])):
        steps = [(0, 0)]
        for axis in moves:
            steps.append((steps[-1][0] + (axis == 0), steps[-1][1] + (axis == 1)))
        every.append(area(steps))
    assert len(every) == 20 and found[0] == (0, 0) and found[-1] == (3, 3)
    assert area(found) == pytest.approx(max(every))


def test_the_best_chain_is_chosen(held_out):
    every, labels = held_out
    best = cascades.search(every, labels, START, BODIES, points=9)
    costs = np.linspace(START + BODIES[0], START + BODIES[2], 200)
    scores = {}
    for chain in ((0, 1), (0, 2), (1, 2), (0, 1, 2)):
        path = cascades.search(every, labels, START, BODIES, points=9, chains=[chain])
        below = np.mean(every[0].argmax(-1) == labels)
        scores[chain] = np.interp(costs, path.madds, path.accuracy, left=below).mean()
    assert best.chain == max(scores, key=scores.get) and len(set(scores.values())) == 4


def test_images_that_are_all_alike():
    """Equal confidences and too few images for the grid: thresholds stay in order, nothing divides by zero."""
    path = cascades.search(np.zeros((3, 2, 4), "float32"), np.zeros(2, int), START, BODIES)
    assert np.all(np.isfinite(path.madds)) and np.all(path.accuracy == 1)
