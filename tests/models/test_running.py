"""The model under what Keras and TensorFlow offer: predict, evaluate, tf.function, SavedModel, dtype policies."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import close, in_graph, nano, pair

from ds_keras.models import DSMobileNet


@pytest.fixture(scope="module")
def routed(model, x):
    """Eager routed logits; the images differ in level."""
    result = model.predict_routed(x)
    assert len(set(result.levels)) > 1
    return result.logits


def test_call_routes(model, x, routed):
    close(model(x), routed)


def test_predict(model, x, routed):
    close(model.predict(x, batch_size=5, verbose=0), routed)
    close(model.predict(tf.data.Dataset.from_tensor_slices(x).batch(5), verbose=0), routed)


def test_tf_function(model, x, routed):
    graph = tf.function(model, input_signature=[tf.TensorSpec([None, 8, 8, 1])])
    for size in (12, 1):
        close(graph(x[:size]), routed[:size])


def test_evaluate(x):
    model = pair()
    labels = np.arange(12) % 3
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    _, accuracy = model.evaluate(x, labels, batch_size=12, verbose=0)
    assert accuracy == pytest.approx(np.mean(np.array(model(x)).argmax(1) == labels))


# Keras' export, below, writes the gate's
@pytest.mark.parametrize("policy", [pytest.param("gate", marks=pytest.mark.slow), "cascade"])
def test_saved_model(tmp_path, x, policy):
    model = pair(default_policy=policy)
    serve = tf.function(lambda x: model(x), input_signature=[tf.TensorSpec([None, 8, 8, 1])], autograph=False)
    tf.saved_model.save(model, str(tmp_path / "m"), signatures=serve)
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    (logits,) = loaded.signatures["serving_default"](tf.constant(x)).values()
    close(logits, model(x))


def test_keras_export(tmp_path, x):
    model = pair()
    model.export(tmp_path / "m", input_signature=[tf.TensorSpec([None, 8, 8, 1])], verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    close(loaded.serve(tf.constant(x)), model(x))


def test_classify(model, x, routed):
    """Photos of any size; images of the model's own as ``predict_routed`` runs them."""
    found, expected = model.classify(x, top=2), model.predict_routed(x)
    assert [(int(c.label), c.level, np.float32(c.madds)) for c in found] == list(
        zip(expected.logits.argmax(1), expected.levels, expected.madds, strict=True)
    )
    probabilities = tf.nn.softmax(expected.logits).numpy()
    close([c.probabilities for c in found], np.sort(probabilities)[:, :-3:-1])
    large = np.kron(x[1], np.ones((3, 4, 1))).astype("uint8")
    (fixed,) = model.classify(large, policy=2)
    assert fixed.level == 2 and len(fixed.labels) == 5
    with pytest.raises(ValueError, match="policy"):
        model.classify(large, policy="gates")


def test_unbuilt_model_builds_at_first_use(x):
    config = pair().get_config()

    def unbuilt():
        return DSMobileNet.from_config(config)

    assert unbuilt()(x, level=0).shape == (12, 3)
    assert unbuilt()(x).shape == (12, 3)
    assert unbuilt().route(x).shape == (12, 2)
    assert unbuilt().predict_routed(x, policy=1).logits.shape == (12, 3)
    assert set(unbuilt().features(x, level=0)) == {2, 4}


def test_mixed_bfloat16_stays_close(x):
    expected = pair()(x, level=1)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = pair()
        logits, routed = model(x, level=1), model(x)
        graph = in_graph(lambda x, level: model(x, level=level))(x, tf.constant(1))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {w.dtype for w in model.weights} == {"float32"}
    assert np.isfinite(np.array(tf.cast(routed, tf.float32))).all()
    for y in (logits, graph):
        assert y.dtype == tf.float32
        close(y, expected, tolerance=0.05)


def test_training_updates_statistics_of_one_level_only(x):
    model = nano()
    before = {w.path: np.array(w.value) for w in model.weights}
    model(x, level=1, training=True)
    changed = {w.path for w in model.weights if not np.array_equal(w.value, before[w.path])}
    assert {path.rsplit("/", 1)[1] for path in changed} == {"moving_mean", "moving_variance"}
    block = model.blocks[-1]
    for norm in (block.norm1, block.norm2):
        rows = [np.array_equal(norm.moving_mean[k], before[norm.moving_mean.path][k]) for k in range(3)]
        assert rows == [True, False, True]


def test_summary_shows_every_shape():
    lines = []
    model = nano()
    attributes = [sorted(vars(layer)) for layer in model.layers]
    model.summary(print_fn=lambda text, line_break=None: lines.append(text))
    text = "\n".join(lines)
    assert "?" not in text and "unbuilt" not in text and "(None, 2, 2, 12)" in text and "(None, 3)" in text
    assert [sorted(vars(layer)) for layer in model.layers] == attributes


def test_fit_says_what_trains(model):
    lines = r"SupernetTrainer\(model\)\n.*trainer\.compile\(.*\n.*trainer\.fit\(batches\)"
    with pytest.raises(ValueError, match=lines):
        model.fit(None)
