"""Graphs of batches of images."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class BatchGraph:
    """A function that runs as a TensorFlow graph, traced once for any number of images.

    ``tf.function`` alone traces for the size of the first batch, and again for a batch of another size, as the last one
    of a data set is. To trace a network takes longer than to run it on many batches.

    Args:
        function: of tensors, and of plain values after them; Python conditions on tensors are not converted.
        batched: number of leading arguments whose first axis is that of the images; one may be None.

    Example:
        >>> graph = BatchGraph(lambda x: 2 * x)
        >>> graph(tf.ones([4])), graph(tf.ones([3]))
        >>> graph.traces
        1
    """

    def __init__(self, function: Callable, batched: int = 1):
        self._graph = tf.function(function, autograph=False, reduce_retracing=True)
        self._batched = batched

    @property
    def traces(self) -> int:
        """How often the function was traced: once for each dtype, and for each combination of plain values."""
        return self._graph.experimental_get_tracing_count()

    def __call__(self, *args: Any) -> Any:
        """Runs the graph on one batch: what the function returns."""
        specs = [_of_any_size(arg) if i < self._batched else arg for i, arg in enumerate(args)]
        self._graph.get_concrete_function(*specs)  # traces, unless it has; the call below then finds it
        return self._graph(*args)


def _of_any_size(tensor: Any) -> Any:
    return None if tensor is None else tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)
