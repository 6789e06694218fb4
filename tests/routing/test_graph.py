import tensorflow as tf
from helpers import same

from ds_keras.routing.graph import BatchGraph


def test_one_trace_serves_batches_of_any_size():
    graph = BatchGraph(lambda x: 2 * x)
    for count in (4, 3, 1, 0, 4):
        x = tf.random.uniform([count, 2])
        same(graph(x), 2 * x)
    assert graph.traces == 1
    graph(tf.ones([4, 2], tf.float64))
    assert graph.traces == 2


def test_one_trace_for_each_plain_value():
    """Tensors that are not of the images keep their shape."""

    def power(x, scale, times, exponent):
        assert times.shape == (1,)
        return (x if scale is None else scale * x) * times ** (2 if exponent == "square" else 1)

    graph = BatchGraph(power, batched=2)
    times = tf.constant([3.0])
    for count in (2, 1):
        x, scale = tf.ones([count]), tf.fill([count], 5.0)
        same(graph(x, scale, times, "square"), 45 * x)
        same(graph(x, scale, times, "plain"), 15 * x)
        same(graph(x, None, times, "plain"), 3 * x)
    assert graph.traces == 3
