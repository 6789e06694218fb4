"""Batch normalisation with one shared affine and private statistics for each slice level."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.backend import replicas, sum_over_replicas
from ds_keras.core.levels import Size, check_level, slice_kernel
from ds_keras.core.sliceable import Shape, SliceableLayer, input_channels


@keras.saving.register_keras_serializable("ds_keras")
class SliceableBatchNormalization(SliceableLayer):
    """BatchNorm over the channels of ``x``: ``gamma`` and ``beta`` are shared, mean and variance belong to a level.

    Runs on TensorFlow's fused kernel, which Keras' own layer does not use. Takes ``level`` only, because its
    statistics belong to a level, not to a width.

    Args:
        num_levels: number of slice levels.
        statistics: for every level, the row of statistics that it uses (default: a row each). Levels that run the
            same weights on the same input share a row: everything before the gate does.
        momentum: of the moving averages.
        epsilon: added to the variance.
        gamma_initializer: Keras initializer; "zeros" lets a residual branch begin as the identity.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, height, width, channels) or (batch, channels).
        level: int or scalar integer tensor.
        training: use the batch's statistics, and move the level's averages towards them; a frozen layer (``trainable``
            is False) uses and keeps its averages, as Keras' own does.

    Under a ``tf.distribute`` strategy the batch is that of all replicas, unless ``synchronized`` is set to False on the
    layer (a trainer does, see ``SupernetTrainer``).

    Raises:
        ValueError: bad level, or more channels than built.

    Source: DS-Net, arXiv 2103.13258, section 3.3; slimmable networks (private statistics, arXiv 1812.08928). The
    variance that enters the moving average is the unbiased one.

    Example:
        >>> norm = SliceableBatchNormalization(num_levels=2)
        >>> norm.build((None, 8, 8, 64))
        >>> norm(tf.ones([4, 8, 8, 32]), level=0).shape
        TensorShape([4, 8, 8, 32])
    """

    int8 = "folded"
    synchronized = True  # whether replicas share the statistics of a batch; a matter of training, so no configuration

    def __init__(
        self,
        num_levels: int = 1,
        statistics: Sequence[int] | None = None,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        gamma_initializer: Any = "ones",
        **kwargs: Any,
    ):
        super().__init__(**{key: value for key, value in kwargs.items() if key not in ("sizes", "divisor")})
        rows = tuple(range(num_levels)) if statistics is None else tuple(int(row) for row in statistics)
        if num_levels < 1 or len(rows) != num_levels or set(rows) != set(range(max(rows) + 1)):
            raise ValueError(
                f"statistics must name a row for each of num_levels={num_levels} levels and leave none out, "
                f"received {statistics!r}"
            )
        self.num_levels = num_levels
        self.statistics = rows
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.gamma_initializer = keras.initializers.get(gamma_initializer)

    def build(self, input_shape: Shape) -> None:
        """Creates the affine and a row of statistics for each distinct level."""
        channels, rows = int(input_shape[-1]), max(self.statistics) + 1
        self.gamma = self.add_kernel("gamma", (channels,), self.gamma_initializer)
        self.beta = self.add_kernel("beta", (channels,), "zeros")
        self.moving_mean = self.add_kernel("moving_mean", (rows, channels), "zeros", trainable=False)
        self.moving_variance = self.add_kernel("moving_variance", (rows, channels), "ones", trainable=False)
        self.built = True

    def row(self, level: Any) -> Size:
        """The row of statistics that a level uses."""
        level = check_level(level, self.num_levels)
        return self.statistics[level] if isinstance(level, int) else level.pick(self.statistics)

    def call(self, x: tf.Tensor, level: Any = None, training: bool = False) -> tf.Tensor:
        """Normalises ``x``."""
        if level is None:
            raise ValueError(f"{self.name}: level must be given, because the statistics belong to a level")
        row = self.row(level)
        channels = input_channels(self, x, self.gamma.shape[0])
        if training and self.trainable:
            y, mean, variance = self.normalize_batch(x)
            self._move(self.moving_mean, row, channels, mean)
            self._move(self.moving_variance, row, channels, variance)
            return y
        mean = _row(self.moving_mean, row, channels)
        variance = _row(self.moving_variance, row, channels)
        return self._fused(x, channels, mean, variance, training=False)[0]

    def normalize_batch(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Normalises with the batch's own statistics and changes no state.

        Args:
            x: as in ``call``.

        Returns:
            The normalised ``x``, the batch mean and the unbiased batch variance (float32, of the channels of ``x``).
        """
        channels = input_channels(self, x, self.gamma.shape[0])
        if self.synchronized and replicas() > 1:
            return self._normalize_over_replicas(x, channels)
        return self._fused(x, channels, [], [], training=True)

    def _normalize_over_replicas(self, x: tf.Tensor, channels: Size) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """As ``normalize_batch`` of the whole batch: its sums, sums of squares and size take one reduction."""
        x = tf.cast(x, tf.float32)
        axes = list(range(x.shape.rank - 1))
        count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
        sums = [tf.reduce_sum(x, axes), tf.reduce_sum(tf.square(x), axes), count[None]]
        total = sum_over_replicas(tf.concat(sums, axis=0))
        mean, square = tf.split(total[:-1] / total[-1], 2)
        variance = tf.maximum(square - tf.square(mean), 0.0)
        gamma, beta = slice_kernel(self.gamma, [channels]), slice_kernel(self.beta, [channels])
        beta, gamma = tf.cast(beta, tf.float32), tf.cast(gamma, tf.float32)
        y = tf.nn.batch_normalization(x, mean, variance, beta, gamma, self.epsilon)
        unbiased = variance * (total[-1] / tf.maximum(total[-1] - 1, 1.0))
        return tf.cast(y, self.compute_dtype), tf.stop_gradient(mean), tf.stop_gradient(unbiased)

    def _fused(self, x: tf.Tensor, channels: Size, mean: Any, variance: Any, training: bool) -> tuple:
        flat = x.shape.rank == 2
        x = tf.cast(x, self.compute_dtype)
        y, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x[:, None, None, :] if flat else x,
            scale=slice_kernel(self.gamma, [channels]),
            offset=slice_kernel(self.beta, [channels]),
            mean=mean,
            variance=variance,
            epsilon=self.epsilon,
            is_training=training,
        )
        return (y[:, 0, 0, :] if flat else y), batch_mean, batch_variance

    def _move(self, variable: keras.Variable, row: Size, channels: Size, value: tf.Tensor) -> None:
        rows, full = variable.shape
        step = (value - _row(variable, row, channels)) * (1 - self.momentum)
        # Zeros elsewhere: what lies outside the active slice stays bit-identical.
        variable.assign_add(tf.pad(step[None], [[row, rows - 1 - row], [0, full - channels]]))

    def set_statistics(self, level: int, mean: Any, variance: Any) -> None:
        """Writes the statistics of a level.

        Args:
            level: slice level.
            mean: (channels,) of the level's width.
            variance: (channels,), likewise.
        """
        row = self.statistics[check_level(level, self.num_levels)]
        for variable, values in ((self.moving_mean, mean), (self.moving_variance, variance)):
            array = keras.ops.convert_to_numpy(variable).copy()
            array[row, : len(values)] = values
            variable.assign(array)

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return tuple(input_shape)

    def weight_slices(self, input_shape: Shape, level: int) -> list:
        """See the base class."""
        return [("gamma", (input_shape[-1],)), ("beta", (input_shape[-1],))]

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """A ``keras.layers.BatchNormalization``."""
        row, channels = self.statistics[level], input_shape[-1]
        moving = [keras.ops.convert_to_numpy(v)[row, :channels] for v in (self.moving_mean, self.moving_variance)]
        layer = keras.layers.BatchNormalization(momentum=self.momentum, epsilon=self.epsilon, name=name)
        return [(layer, [*self.numpy_weights(input_shape, level), *moving])]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "num_levels": self.num_levels,
            "statistics": list(self.statistics),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
        }


def _row(variable: keras.Variable, row: Size, channels: Size) -> tf.Tensor:
    # Not slice_kernel: a row of statistics is chosen, not a prefix. The prefix of its channels is.
    return slice_kernel(tf.gather(tf.convert_to_tensor(variable), row), [channels])
