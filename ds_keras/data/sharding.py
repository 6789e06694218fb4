"""Which part of each batch an input pipeline makes, and how it hands that to its replicas."""

from typing import Any, NamedTuple

import tensorflow as tf

from ds_keras.data.augment.part import Part


class Share(NamedTuple):
    """The part of each batch that belongs to one input pipeline of a ``tf.distribute`` strategy.

    Args:
        part: the images of the batch.
        images: how many they are.
        replicas: that share them, one after another.
    """

    part: Part | None
    images: int
    replicas: int = 1

    @classmethod
    def of(cls, context: tf.distribute.InputContext | None, batch_size: int) -> "Share":
        """The share of a pipeline.

        Args:
            context: that ``distribute_datasets_from_function`` gives; None for the whole batch.
            batch_size: images in the batch of all replicas.

        Returns:
            The share.

        Raises:
            ValueError: the replicas cannot have equal parts of the batch.
        """
        if context is None:
            return cls(None, batch_size)
        replicas, pipelines = context.num_replicas_in_sync, context.num_input_pipelines
        if batch_size % replicas or replicas % pipelines:
            raise ValueError(
                f"batch_size must be a multiple of the {replicas} replicas ({pipelines} input pipelines), "
                f"received {batch_size!r}"
            )
        count = batch_size // pipelines
        part = Part(context.input_pipeline_id * count, batch_size) if pipelines > 1 else None
        return cls(part, count, replicas // pipelines)

    @property
    def first(self) -> int:
        """Place of its first image in the batch."""
        return 0 if self.part is None else self.part.first

    def among(self, place: tf.Tensor, batch_size: int) -> tf.Tensor:
        """Where the images that the pipeline makes, counted from 0, lie in the stream of all batches."""
        if self.part is None:
            return place
        return place // self.images * batch_size + self.first + place % self.images

    def dealt(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Batches of the pipeline as batches of its replicas, one after another."""
        if self.replicas == 1:
            return dataset

        def split(*parts: Any) -> tuple:
            return tuple(tf.reshape(x, [self.replicas, self.images // self.replicas, *x.shape[1:]]) for x in parts)

        return dataset.map(split).unbatch()
