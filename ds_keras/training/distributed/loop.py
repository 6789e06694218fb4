"""The training loop for any strategy of ``tf.distribute``: Keras' own fails where there are several workers."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from ds_keras.training.distributed.gradients import accumulation_steps

if TYPE_CHECKING:
    from ds_keras.training.base import Trainer

Batches = Callable[[tf.distribute.InputContext], tf.data.Dataset]


def fit(
    trainer: "Trainer",
    batches: Batches,
    steps: int,
    validation: Batches | None = None,
    epochs: int = 1,
    initial_epoch: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: Any = 0,
) -> keras.callbacks.History:
    """Trains under the trainer's strategy: one device, the devices of a machine, or several workers.

    Every worker calls it with the same arguments. On one device a step is that of ``trainer.fit``, bit for bit.

    Args:
        trainer: made and compiled within ``strategy.scope()``.
        batches: f(context) -> endless or long enough dataset of a replica's batches, which follow each other as the
            replicas of this input pipeline do: ``ds_keras.data.batches(..., context=context)``.
        steps: in an epoch.
        validation: f(context) -> dataset of (images, labels, weights), as many batches on every worker:
            ``ds_keras.data.evaluation_batches(..., context=context)``; default none.
        epochs: number of the last epoch, as in ``keras.Model.fit``.
        initial_epoch: number of the first one, from 0.
        callbacks: of Keras; they get metrics at the end of an epoch only.
        verbose: 0 for silence; else a progress bar.

    Returns:
        Keras' history: the metrics of each epoch, over all replicas.

    Raises:
        ValueError: bad ``steps``.
        tf.errors.OpError: of a step; within ``job`` a worker that is gone ends the process.

    Source: TensorFlow's guide "Custom training with tf.distribute.Strategy".

    Example:
        >>> fit(trainer, lambda context: data.batches(train, 256, seed=0, context=context), steps=100, epochs=5)
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a positive integer, received {steps!r}")
    strategy = trainer.distribute_strategy
    trainer._check_callbacks(callbacks)
    steps_of = _Steps.of(trainer, strategy)
    with strategy.scope():
        # A History among the callbacks of fit calls is what Keras makes too.
        calls = keras.callbacks.CallbackList(
            list(callbacks), add_history=True, add_progbar=bool(verbose), model=trainer, verbose=1, steps=steps,
            epochs=epochs,
        )  # fmt: skip
        trainer.stop_training = False
        calls.on_train_begin()
        stream = iter(strategy.distribute_datasets_from_function(batches))
        for epoch in range(initial_epoch, epochs):
            for metric in trainer.metrics:
                metric.reset_state()
            calls.on_epoch_begin(epoch)
            for step in range(steps):
                calls.on_train_batch_begin(step)
                steps_of.train(next(stream))
                calls.on_train_batch_end(step)
                if trainer.stop_training:
                    break
            logs = _results(trainer.progress)
            if validation is not None:
                for batch in strategy.distribute_datasets_from_function(validation):
                    steps_of.test(batch)
                logs |= {f"val_{name}": value for name, value in _results(trainer.evaluation).items()}
            calls.on_epoch_end(epoch, logs)
            if trainer.stop_training:
                break
        calls.on_train_end()
    return next(call for call in calls.callbacks if isinstance(call, keras.callbacks.History))


class _Steps:
    """The traced steps of a trainer, kept with it for its next epochs.

    Args:
        trainer: compiled.
        strategy: that it was made under.
    """

    def __init__(self, trainer: "Trainer", strategy: tf.distribute.Strategy):
        self.key = self.key_of(trainer)

        self.trainer, self.replicas = trainer, strategy.num_replicas_in_sync

        @tf.function(autograph=False, reduce_retracing=True)
        def train(batch: Any, updates: bool) -> None:
            trainer.updates = updates  # while it is traced
            try:
                strategy.run(trainer.train_step, args=(batch,))
            finally:
                trainer.updates = None

        @tf.function(autograph=False, reduce_retracing=True)
        def test(batch: Any) -> None:
            strategy.run(trainer.test_step, args=(batch,))

        self._train, self.test = train, test

    def train(self, batch: Any) -> None:
        """A step; one that moves no variable yet, where the optimizer accumulates gradients, is a graph of its own."""
        every = accumulation_steps(self.trainer.optimizer) if self.replicas > 1 else None
        self._train(batch, not every or (int(self.trainer.step) + 1) % every == 0)

    @staticmethod
    def key_of(trainer: "Trainer") -> tuple:
        """What a trace depends on besides the batch."""
        return trainer.optimizer, *trainer.routes

    @classmethod
    def of(cls, trainer: "Trainer", strategy: tf.distribute.Strategy) -> "_Steps":
        """Those that an earlier call made, or new ones."""
        known = trainer.__dict__.get("_distributed_steps")
        if known is None or known.key != cls.key_of(trainer):
            known = cls(trainer, strategy)
            trainer.__dict__["_distributed_steps"] = known
        return known


def _results(metrics: list[keras.metrics.Metric]) -> dict[str, float]:
    """The metrics over all replicas: outside of a replica their sums are added up when they are read."""
    return {metric.name: float(metric.result()) for metric in metrics}
