"""Batches whose order and augmentation are pure functions of (seed, step), so that training resumes exactly.

Example i of the endless stream belongs to epoch i // n; its image is the (i % n)-th of that epoch's permutation.
Nothing has a state: a dataset that starts at step k gives what an uninterrupted one gives from step k on, bit for bit.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ds_keras.data.augment.crop import random_resized_crop, random_resized_crop_one
from ds_keras.data.augment.mix import mixup as mix
from ds_keras.data.augment.part import part_of_batch
from ds_keras.data.augment.recipe import Recipe, augmentation
from ds_keras.data.resize import Size, check_size, resize_and_crop
from ds_keras.data.sharding import Share
from ds_keras.data.source import Source

_ORDER, _AUGMENT, _CROP, _MIX = 0, 1, 2, 3  # streams of random numbers


def batches(
    source: Source,
    batch_size: int,
    seed: int,
    augment: str | Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    image_size: Any = None,
    start_step: int = 0,
    end_step: int | None = None,
    views: int = 1,
    shuffle: bool = True,
    parallel: int = 2,
    mixup: float = 0.0,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Endless training batches that resume exactly.

    Every image is seen once in an epoch; a batch may span two epochs. Images that vary in size are cropped at random
    with "rrc" in the recipe, else scaled and cropped in the centre.

    Args:
        source: the images.
        batch_size: images in every batch.
        seed: of order and augmentation, in [0, 2**31).
        augment: a recipe (see ``augmentation``), or f(images, seed) -> images of whole float32 batches.
        image_size: integer or (height, width) of the result; needed where sizes vary.
        start_step: step of the first batch; what an uninterrupted stream gives there.
        end_step: step to stop before; default never.
        views: independently augmented copies of each image.
        shuffle: whether each epoch has an order of its own.
        parallel: batches (or images, where they are decoded on the fly) prepared at a time.
        mixup: alpha of ``ds_keras.data.mixup``, applied to the augmented batch (one view only); 0 leaves it out.
        context: of ``strategy.distribute_datasets_from_function``: only this input pipeline's part of each batch is
            decoded, and it is dealt to its replicas. Together the replicas get what one device would, image by image
            (a function of your own as ``augment`` draws anew for each pipeline). Mixup pairs images of the whole batch,
            so it needs a single pipeline.

    Returns:
        Dataset of (images, labels): float32 in [0, 255], (batch, height, width, channels), or (batch, views, height,
        width, channels) for ``views`` above 1; int32 (batch,), with ``mixup`` float32 (batch, classes).

    Raises:
        ValueError: bad arguments.

    Example:
        >>> train = batches(source, 128, seed=0, augment="flip,pad_crop:4,erase:0.25", start_step=step)
        >>> trainer.fit(train, steps_per_epoch=len(source) // 128)
    """
    recipe = _recipe(augment)
    size = _output_size(source, image_size)
    _check(batch_size=(batch_size, 1), start_step=(start_step, 0), views=(views, 1), parallel=(parallel, 1))
    _check(seed=(seed, 0), end_step=(start_step if end_step is None else end_step, start_step))
    if seed >= 2**31:
        raise ValueError(f"seed must be an integer in [0, 2**31), received {seed!r}")
    last = (2**63 - 1) // batch_size if end_step is None else end_step
    if mixup and views > 1:
        raise ValueError(f"mixup must be 0 with more than one view, received mixup={mixup!r} and views={views!r}")
    share = Share.of(context, batch_size)
    if mixup and share.part is not None:
        raise ValueError(f"mixup must be 0 with several input pipelines, received {mixup!r}: pairs lie in any of them")
    plan = _Plan(source, recipe, size, batch_size, seed, views, shuffle, mixup, share)
    if source.in_memory:
        dataset = tf.data.Dataset.range(start_step, last)
        dataset = dataset.map(plan.gather, num_parallel_calls=parallel, deterministic=True)
    else:
        dataset = tf.data.Dataset.range(start_step * share.images, last * share.images)
        dataset = dataset.map(plan.decode, num_parallel_calls=parallel, deterministic=True)
        dataset = dataset.batch(share.images, drop_remainder=True).enumerate(start_step)
        dataset = dataset.map(plan.finish, num_parallel_calls=parallel, deterministic=True)
    dataset = share.dealt(dataset)
    if end_step is None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return dataset.prefetch(2)


def evaluation_batches(
    source: Source,
    batch_size: int,
    image_size: Any = None,
    crop_fraction: float | None = None,
    parallel: int = 2,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """All images once, in order; the last batch may be smaller.

    Args:
        source: the images.
        batch_size: images in a batch.
        image_size: integer or (height, width) of the result; needed where sizes vary.
        crop_fraction: share of the tighter side that is kept when images are scaled; default 0.875 where sizes vary,
            else 1.
        parallel: batches (or images, where they are decoded on the fly) prepared at a time.
        context: as of ``batches``. Replicas need batches of one size, so the last one is filled up with the last image.

    Returns:
        Dataset of (images, labels): float32 (batch, height, width, channels) in [0, 255]; int32 (batch,). With a
        ``context`` of (images, labels, weights): float32 (batch,), 0 for what fills up.

    Raises:
        ValueError: bad arguments.

    Example:
        >>> model.evaluate(evaluation_batches(test, 256, image_size=128))
    """
    size = _output_size(source, image_size)
    _check(batch_size=(batch_size, 1), parallel=(parallel, 1))
    if crop_fraction is None:
        crop_fraction = 0.875 if None in source.image_shape else 1.0
    with tf.init_scope(), tf.device("CPU:0"):
        labels = tf.constant(source.labels)

    share, count = Share.of(context, batch_size), len(source)

    def load(place: tf.Tensor) -> tuple[tf.Tensor, ...]:
        example = share.among(place, batch_size)
        index = tf.minimum(example, count - 1)
        loaded = resize_and_crop(source.load(index), size, crop_fraction), tf.gather(labels, index)
        return loaded if context is None else (*loaded, tf.cast(example < count, tf.float32))

    dataset = tf.data.Dataset.range(count if context is None else -(-count // batch_size) * share.images)
    if source.in_memory:
        dataset = dataset.batch(share.images).map(load, num_parallel_calls=parallel, deterministic=True)
    else:
        dataset = dataset.map(load, num_parallel_calls=parallel, deterministic=True).batch(share.images)
    return share.dealt(dataset).prefetch(2)


class _Plan:
    """What happens to one step's examples."""

    def __init__(
        self,
        source: Source,
        recipe: Recipe,
        size: Size,
        batch_size: int,
        seed: int,
        views: int,
        shuffle: bool,
        mixup: float,
        share: Share,
    ):
        self.mixup, self.share = mixup, share
        self.source, self.recipe, self.size, self.batch_size = source, recipe, size, batch_size
        self.seed, self.views, self.shuffle = seed, views, shuffle
        self.varies = None in source.image_shape
        with tf.init_scope(), tf.device("CPU:0"):
            self.labels = tf.constant(source.labels)

    def position(self, example: tf.Tensor) -> tf.Tensor:
        """Index in the source of examples of the stream: (...) int64 to (...) int64."""
        n = len(self.source)
        return shuffled(example, n, self.seed) if self.shuffle else example % n

    def gather(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A batch from memory."""
        share = self.share
        index = self.position(step * self.batch_size + share.first + tf.range(share.images, dtype=tf.int64))
        return self.finish(step, (self.source.load(index), tf.gather(self.labels, index)))

    def decode(self, example: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One example; where sizes vary, all its views, cropped to the size: (views, height, width, channels)."""
        example = self.share.among(example, self.batch_size)
        index = self.position(example)
        image, label = self.source.load(index), tf.gather(self.labels, index)
        if not self.varies:
            return image, label
        if self.recipe.crop_area is None:
            return tf.stack([resize_and_crop(image, self.size)] * self.views), label
        seed = self.stream(_CROP, example)
        seeds = [tf.random.fold_in(seed, view) for view in range(self.views)]
        crops = [random_resized_crop_one(image, each, self.size, self.recipe.crop_area) for each in seeds]
        return tf.stack(crops), label

    def finish(self, step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Augments a batch; every view has its own seed."""
        images, labels = batch
        views = [self.augmented(images, step, view) for view in range(self.views)]
        if self.mixup:
            return mix(views[0], labels, self.stream(_MIX, step), len(self.source.class_names), self.mixup)
        return views[0] if self.views == 1 else tf.stack(views, axis=1), labels

    def augmented(self, images: tf.Tensor, step: tf.Tensor, view: int) -> tf.Tensor:
        """One view of a batch."""
        seed = tf.random.fold_in(self.stream(_AUGMENT, step), view)
        if self.recipe.spec == "custom" and self.share.part is not None:  # it draws what it wants, for the images here
            seed = tf.random.fold_in(seed, 2 + self.share.first)
        with part_of_batch(self.share.part):
            if self.varies:
                images = images[:, view]
            elif self.recipe.crop_area is not None:
                images = random_resized_crop(images, tf.random.fold_in(seed, 1), self.size, self.recipe.crop_area)
            else:
                images = resize_and_crop(images, self.size)
            images = tf.cast(self.recipe(images, tf.random.fold_in(seed, 0)), tf.float32)
        return tf.ensure_shape(images, [self.share.images, *self.size, self.source.image_shape[2]])

    def stream(self, kind: int, index: tf.Tensor) -> tf.Tensor:
        """(2,) int64 seed of a stream's ``index``-th element."""
        return tf.stack([tf.constant(self.seed * 4 + kind, tf.int64), index])


def shuffled(example: tf.Tensor, count: int, seed: int) -> tf.Tensor:
    """Places in a set of the examples of an endless stream, which goes through it in another order in each epoch.

    Args:
        example: (...) int64, numbers in the stream.
        count: images in the set.
        seed: of the orders.

    Returns:
        (...) int64 in [0, count).
    """
    epoch, position = example // count, example % count
    if count == 1:
        return position
    stream = tf.fill(tf.shape(epoch), tf.constant(seed * 4 + _ORDER, tf.int64))
    seeds = tf.stack([stream, epoch, tf.zeros_like(epoch)], axis=-1)
    # Not tf.random.experimental.index_shuffle: it pads the wrong axis of a seed for each element, and with its four
    # rounds the orders of successive epochs are nearly the same (correlation 0.89 for n = 60,000; 0.00 with 16).
    last = tf.constant(count - 1, tf.int64)
    return tf.raw_ops.RandomIndexShuffle(index=position, seed=seeds, max_index=last, rounds=16)


def _recipe(augment: Any) -> Recipe:
    if augment is None or isinstance(augment, str):
        return augmentation(augment)
    if not callable(augment):
        raise ValueError(f"augment must be a recipe string or f(images, seed), received {augment!r}")
    return augment if isinstance(augment, Recipe) else Recipe("custom", (augment,))


def _output_size(source: Source, image_size: Any) -> Size:
    if image_size is not None:
        return check_size(image_size)
    height, width, _ = source.image_shape
    if height is None or width is None:
        raise ValueError(f"image_size is needed: the images of {source.name!r} vary in size")
    return height, width


def _check(**arguments: tuple[Any, int]) -> None:
    for name, (value, low) in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f"{name} must be an integer of at least {low}, received {value!r}")
