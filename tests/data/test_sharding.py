"""Input pipelines of several workers: together they give what one gives, image by image."""

import numpy as np
import pytest
import tensorflow as tf

from ds_keras.data import Source, batches, evaluation_batches


def context(index, pipelines, replicas):
    return tf.distribute.InputContext(pipelines, index, replicas)


def dealt(make, pipelines, replicas, steps):
    """What all replicas get, put together as one batch for each step."""
    each = replicas // pipelines
    streams = [list(make(context(p, pipelines, replicas)).take(steps * each)) for p in range(pipelines)]
    order = [(p, s * each + r) for s in range(steps) for p in range(pipelines) for r in range(each)]
    parts = [streams[p][k] for p, k in order]
    columns = [np.concatenate([part[c] for part in parts]) for c in range(len(parts[0]))]
    return [column.reshape(steps, -1, *column.shape[1:]) for column in columns]


@pytest.mark.parametrize(
    "kind, recipe, pipelines, replicas",
    [
        ("memory", "rrc:0.3,flip,pad_crop:1,erase:0.6", 2, 4),
        ("memory", "shift:1", 1, 2),
        ("files", "rrc:0.3,flip,erase:0.6", 2, 2),
        pytest.param("memory", "trivial,rand:1:9", 2, 2, marks=pytest.mark.slow),
    ],
)
def test_parts_of_pipelines_make_up_the_batches_of_one(source, kind, recipe, pipelines, replicas):
    images = source.images()
    if kind == "files":
        files = [tf.io.encode_png(image).numpy() for image in images]
        source = Source.from_arrays(files, source.labels, source.class_names)
    options = {"seed": 3, "augment": recipe, "image_size": 6, "start_step": 2}

    def make(context=None):
        return batches(source, 12, context=context, **options)

    whole = [np.stack(column) for column in zip(*(map(np.asarray, b) for b in make().take(5)), strict=True)]
    for one, many in zip(whole, dealt(make, pipelines, replicas, 5), strict=True):
        np.testing.assert_allclose(one, many, rtol=1e-6, atol=1e-3)  # sums of pixels may round otherwise


def test_views_and_functions_of_your_own(source):
    def own(images, seed):
        return images + tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed)

    def make(context=None, **options):
        return batches(source, 12, 3, context=context, views=2, **options)

    whole = np.stack([np.asarray(x) for x, _ in make(augment="flip").take(2)])
    np.testing.assert_array_equal(dealt(lambda c: make(c, augment="flip"), 2, 2, 2)[0], whole)
    (parts,) = np.asarray(dealt(lambda c: make(c, augment=own), 2, 2, 1)[0])
    noise = parts - np.stack([np.asarray(x) for x, _ in make().take(1)])[0]
    assert len(np.unique(noise[:, :, 0, 0, 0])) == 24  # no two images, and no two workers, draw the same


def test_every_image_is_evaluated_once(source):
    assert len(source) % 12
    steps = -(-len(source) // 12)
    x, y, weights = dealt(lambda c: evaluation_batches(source, 12, context=c), 2, 4, steps)
    counted = weights.reshape(-1) == 1
    assert counted.sum() == len(source) and set(np.unique(weights)) == {0, 1}
    np.testing.assert_array_equal(y.reshape(-1)[counted], source.labels)
    np.testing.assert_array_equal(x.reshape(-1, *x.shape[2:])[counted], source.images())


def test_errors(source):
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of the 4 replicas .*received 10"):
        batches(source, 10, 0, context=context(0, 2, 4))
    with pytest.raises(ValueError, match=r"mixup must be 0 with several input pipelines, received 0.2"):
        batches(source, 12, 0, mixup=0.2, context=context(0, 2, 2))


def test_an_epoch_of_a_large_set_over_64_workers_has_each_image_once():
    """The places alone: what 64 pipelines ask for in the first and second epoch of 1.28 million images."""
    from ds_keras.data.pipeline import _Plan
    from ds_keras.data.sharding import Share

    count, batch = 64 * 20_000, 4096
    source = Source.from_arrays(np.zeros([1, 1, 1, 1], "uint8"), [0], ["a"]).subset(np.zeros(count, int))
    seen = 0
    steps = tf.range(2 * count // batch + 1, dtype=tf.int64)
    for worker in range(64):
        share = Share.of(context(worker, 64, 64), batch)
        plan = _Plan(source, None, (1, 1), batch, 7, 1, True, 0.0, share)
        examples = (steps[:, None] * batch + share.first + tf.range(share.images, dtype=tf.int64)).numpy().reshape(-1)
        examples = examples[examples < 2 * count]
        places = examples // count * count + plan.position(tf.constant(examples)).numpy()
        seen += np.bincount(places, minlength=2 * count)
    assert (seen == 1).all()
