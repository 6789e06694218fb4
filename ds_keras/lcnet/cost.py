"""The part of an LC-ResNet that runs sets of images: which units run, and the multiply-adds of what runs."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ds_keras.core.image_model import ImageModel
from ds_keras.lcnet.block import Costs
from ds_keras.lcnet.predictor import relu1
from ds_keras.routing.graph import BatchGraph


class Executed(NamedTuple):
    """What ran: logits (batch, classes); madds (batch,); scales (batch, units), 0 where a unit is skipped."""

    logits: Any
    madds: Any
    scales: Any


class SkippingNetwork(ImageModel):
    """The part of ``LCResNet`` that runs sets of images and counts what ran; it needs its table, layers and pass."""

    stem: list[Any]
    blocks: list[Any]
    table: dict[str, Any]
    stages: tuple[Any, ...]
    forward: Callable[..., tuple[tf.Tensor, tf.Tensor]]

    @property
    def units(self) -> list[str]:
        """What may be skipped, in the order of the columns of ``Executed.scales``."""
        return [
            name
            for block in self.blocks
            for name in (*[block.name] * block.layers, *(f"{block.name}/group{i}" for i in range(block.groups)))
        ]

    def run(self, x: Any, batch_size: int = 256, scales: Any = None) -> Executed:
        """Runs a set of images and says what ran for each.

        Args:
            x: (count, height, width, channels) images in [0, 255].
            batch_size: images at a time.
            scales: (count, units) in [0, 1], taken instead of what the predictors give.

        Returns:
            ``Executed(logits, madds, scales)`` of numpy arrays; ``units`` names the columns of the scales. 0 where a
            unit did not run: the groups of a block that is skipped, too.

        Raises:
            ValueError: no images, or of another shape; scales of another shape.

        Example:
            >>> executed = model.run(images)
            >>> executed.madds.mean() / model.madds
        """
        x, count = self.image_set(x, batch_size), len(self.units)
        if scales is not None:
            scales = np.asarray(scales, "float32")
            if scales.shape != (len(x), count) or not np.all((scales >= 0) & (scales <= 1)):  # NaN is neither
                found = f"values from {scales.min()} to {scales.max()}" if scales.size else "none"
                raise ValueError(
                    f"scales must have shape ({len(x)}, {count}) and lie in [0, 1], received {scales.shape}, {found}"
                )
        results = [(np.zeros((0, self.num_classes)), np.zeros(0), np.zeros((0, count)))]
        for i in range(0, len(x), batch_size):
            own = None if scales is None else tf.constant(scales[i : i + batch_size], tf.float32)
            results.append(self.graph(tf.convert_to_tensor(x[i : i + batch_size]), own))
        return Executed(*(np.concatenate(column).astype("float32") for column in zip(*results, strict=True)))

    def run_photos(self, x: np.ndarray) -> tuple[Any, Any, Any]:
        """See the base class."""
        executed = self.run(x)
        return executed.logits, None, executed.madds

    @functools.cached_property
    def graph(self) -> Any:
        """One batch of ``run``, traced once for any size of the batch."""

        def executed(x: tf.Tensor, scales: tf.Tensor | None) -> Executed:
            logits, predicted = self.forward(x, scales=scales)
            scales = self.active(predicted)
            return Executed(logits, self.madds * self.spent(tf.cast(scales > 0, tf.float32)), scales)

        return BatchGraph(executed, batched=2)

    def by_block(self, units: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Columns of a tensor as they belong to the blocks.

        Args:
            units: (batch, units).

        Returns:
            For each block: (batch, 1) of the block, (batch, 0) where it cannot be skipped, and (batch, groups).
        """
        sizes = [size for block in self.blocks for size in (int(block.layers), block.groups)]
        parts = tf.split(units, sizes, axis=1)
        return list(zip(parts[::2], parts[1::2], strict=True))

    def active(self, predicted: tf.Tensor) -> tf.Tensor:
        """The scales of what runs.

        Args:
            predicted: (batch, units) of ``forward``.

        Returns:
            The same shape, in [0, 1]; 0 where a unit does not run: the groups of a block that is skipped, too.
        """
        found = []
        for block, (scale, groups) in zip(self.blocks, self.by_block(relu1(predicted)), strict=True):
            found += [scale, groups * tf.cast(scale > 0, tf.float32) if block.layers else groups]
        return tf.concat(found, axis=1)

    def costs(self) -> tuple[int, list[Costs]]:
        """Multiply-adds for one image at the model's ``input_shape``, by the convention of ``ds_keras.cost``.

        Returns:
            Those of stem and head, and the ``Costs`` of every block.
        """
        shapes, table, found = self.output_shapes(), self.table, []
        rest = self.image_shape[-1] * table["stem_kernel"] ** 2 * math.prod(shapes[self.stem[0]][1:])
        height, width = shapes[self.stem[-1]][1:3]
        for block in self.blocks:
            found.append(block.costs(height, width))
            height, width = math.ceil(height / block.stride), math.ceil(width / block.stride)
        last = self.stages[-1].width
        return rest + last * height * width + last * self.num_classes, found

    @property
    def madds(self) -> int:
        """Multiply-adds of one image that skips nothing, the predictors' included."""
        rest, blocks = self.costs()
        return rest + sum(c.always + c.block + b.groups * c.group for b, c in zip(self.blocks, blocks, strict=True))

    def spent(self, on: tf.Tensor) -> tf.Tensor:
        """Multiply-adds of every image.

        Args:
            on: (batch, units) float32, 1 where a unit runs and 0 where it is skipped.

        Returns:
            (batch,) float32, as a share of ``madds``. Its gradient is what each unit costs by itself: the groups of a
            block that is skipped have one too, which a product would not give.
        """
        rest, costs = self.costs()
        total = tf.fill([tf.shape(on)[0]], float(rest + sum(cost.always for cost in costs)))
        alone = tf.zeros_like(total)
        for block, cost, (scale, groups) in zip(self.blocks, costs, self.by_block(on), strict=True):
            runs = scale[:, 0] if block.layers else tf.ones_like(total)
            inner = cost.group * tf.reduce_sum(groups, axis=1)
            total += runs * (cost.block + inner)
            alone += runs * (cost.block + cost.group * block.groups) + inner
        return (alone + tf.stop_gradient(total - alone)) / self.madds
