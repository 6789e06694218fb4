"""What the trainers share; and validation of every level and of the routed model for those of supernets."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.backend import mean_over_replicas
from ds_keras.core.image_model import ImageModel
from ds_keras.core.levels import LevelTensor
from ds_keras.core.visitor import Compute
from ds_keras.models.supernet import Supernet
from ds_keras.routing import execute as routing
from ds_keras.routing.recorded import Recorded, logits_by_level, replay
from ds_keras.training.distributed.gradients import apply
from ds_keras.training.losses import check_labels

NOT_FINITE = "the loss is not finite"


class Trainer(keras.Model):
    """Wraps a network for ``compile``, ``fit`` and ``evaluate``.

    Args:
        network: the model to train; trained in place.
        kind: its class.
        seed: of everything random in a step; with the step's number it determines the draw.
        **kwargs: of ``keras.Model``.
    """

    views = 1  # of every image in a batch
    updates: bool | None = None  # whether a step on several replicas moves variables; see ``distributed.gradients``

    def __init__(self, network: ImageModel, kind: type[ImageModel], seed: int = 0, **kwargs: Any):
        if not isinstance(network, kind):
            raise ValueError(f"model must be a ds_keras {kind.__name__}, received {type(network).__name__}")
        super().__init__(**{"dtype": network.dtype_policy, **kwargs})  # Keras scales the loss of a float16 model
        network.build()
        self.network = network
        self.seed = int(seed)
        self.progress: list[keras.metrics.Metric] = []  # of a step
        self.evaluation: list[keras.metrics.Metric] = []
        self.built = True

    def fit(self, *args: Any, steps_per_epoch: int | None = None, **kwargs: Any) -> Any:
        """As ``keras.Model.fit``, which would take 0 steps of an endless data set for all of it.

        A callback that monitors an accuracy looks for the largest, one that monitors a loss or MAdds for the smallest.

        Raises:
            ValueError: ``steps_per_epoch`` below 1, or a callback that monitors "loss", which no trainer reports, or
                that saves a whole trainer; or a strategy of several workers, under which Keras' loop fails (Keras
                issue 20585): ``ds_keras.training.distributed.fit`` is the loop for it.
        """
        if isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise ValueError(
                f"{type(self).__name__}.fit does not run under MultiWorkerMirroredStrategy, because of "
                "Keras issue 20585; call ds_keras.training.distributed.fit(trainer, batches, steps)"
            )
        self._check_callbacks(kwargs.get("callbacks", args[5] if len(args) > 5 else None))
        if steps_per_epoch is not None and steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch must be at least 1, received {steps_per_epoch!r}")
        return super().fit(*args, steps_per_epoch=steps_per_epoch, **kwargs)

    def _check_callbacks(self, callbacks: Any) -> None:
        for callback in getattr(callbacks, "callbacks", callbacks) or []:
            name = type(callback).__name__
            if isinstance(callback, keras.callbacks.ModelCheckpoint) and not callback.save_weights_only:
                raise ValueError(f"{name} must have save_weights_only=True: {self._how_to_save}")
            monitor = getattr(callback, "monitor", None)
            if not isinstance(monitor, str) or not getattr(callback, "save_best_only", True):
                continue
            known = [metric.name for metric in self.progress] + [f"val_{metric.name}" for metric in self.evaluation]
            if monitor in ("loss", "val_loss"):
                raise ValueError(f"monitor of {name} must be one of {known}, received {monitor!r}")
            if getattr(callback, "mode", None) == "auto":
                modes = {"accuracy": "max", "loss": "min", "madds": "min"}
                callback.mode = modes.get(monitor.rpartition("_")[2], "auto")

    @property
    def _how_to_save(self) -> str:
        return (
            "a trainer is not saved; save its network (ds_keras.zoo.save(model, directory) or model.save(path)), or "
            "the weights (trainer.save_weights(path), which model.load_weights reads too)"
        )

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refused: see ``save_weights``, and the network's own ``save``.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{type(self).__name__}.save: {self._how_to_save}")

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Refused: the network is exported, not its trainer.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{type(self).__name__}.export: a trainer is not exported; {self.network.exporters}")

    @property
    def routes(self) -> tuple:
        """How the model routes: what a traced ``test_step`` depends on besides the batch."""
        return ()

    @property
    def static_shapes(self) -> bool:
        """Whether every shape in a step is known before it runs, as XLA needs it."""
        return True

    @property
    def all_active(self) -> bool:
        """Whether every step uses the whole of every trained kernel, so that an optimizer may shrink all of it."""
        return True

    @property
    def trained_variables(self) -> list[keras.Variable]:
        """The variables that the optimizer moves."""
        raise TypeError(f"{type(self).__name__} does not define trained_variables")

    def compile(self, optimizer: Any = "sgd", **kwargs: Any) -> None:
        """As ``keras.Model.compile``; the losses and metrics are the trainer's own.

        Args:
            optimizer: Keras optimizer; without weight decay of its own where only a part of the levels is trained.
            **kwargs: run options of ``keras.Model.compile`` (``steps_per_execution``, ``run_eagerly``).

        Raises:
            ValueError: the optimizer decays weights outside the active slices or averages weights, a loss or metric is
                given, nothing is trainable, or XLA is asked to compile levels that are drawn in each step.
        """
        given = {"loss", "metrics", "weighted_metrics", "loss_weights"} & set(kwargs)
        if given:
            raise ValueError(f"{type(self).__name__} has its own losses and metrics, received {sorted(given)}")
        optimizer = keras.optimizers.get(optimizer)
        if getattr(optimizer, "weight_decay", None) and not self.all_active:
            raise ValueError(
                f"optimizer.weight_decay must be 0 where a part of the levels is trained, received "
                f"{optimizer.weight_decay}: it would shrink the weights outside their slices too; give weight_decay= "
                "to the trainer"
            )
        if getattr(optimizer, "use_ema", False):
            raise ValueError(
                "optimizer.use_ema must be False, received True: Keras would average variables that are "
                "not trained; Stage I has a moving average of its own"
            )
        if not self.trained_variables:
            raise ValueError(
                f"{type(self).__name__} has nothing to train: every layer of {self.network.name} that it trains has "
                "trainable=False"
            )
        if kwargs.get("jit_compile", "auto") == "auto":
            kwargs["jit_compile"] = False  # XLA would compile every slice size anew
        if kwargs["jit_compile"] and not self.static_shapes:
            raise ValueError(
                "jit_compile must be False where levels are drawn in each step, because XLA needs their sizes before; "
                "received True: give num_random=None to the trainer, which runs every level"
            )
        super().compile(optimizer=optimizer, **kwargs)
        self.optimizer.build(self.trained_variables)

    def call(self, x: Any, training: bool = False) -> tf.Tensor:
        """The network's logits."""
        return self.network(x)

    @property
    def step(self) -> tf.Tensor:
        """Steps so far, those included that only accumulate gradients (``optimizer.iterations`` counts updates)."""
        optimizer: Any = getattr(self.optimizer, "inner_optimizer", self.optimizer)  # of a loss-scaling one
        return tf.convert_to_tensor(optimizer._iterations)

    def step_seed(self, salt: int) -> tf.Tensor:
        """Seed of a random draw: a pure function of (seed, step)."""
        return tf.stack([tf.constant(self.seed * 8 + salt, tf.int32), tf.cast(self.step, tf.int32)])

    def share(self, loss: tf.Tensor) -> tf.Tensor:
        """A replica's share of the loss, scaled for the optimizer: gradients are summed over replicas."""
        return self.optimizer.scale_loss(loss / tf.distribute.get_strategy().num_replicas_in_sync)

    def check_finite(self, loss: tf.Tensor, level: Any) -> tf.Tensor:
        """The loss; stops the run, before any weight moves, where it is not finite, naming step and level.

        All replicas stop where one has such a loss.
        """
        level = level.tensor if isinstance(level, LevelTensor) else level
        finite = tf.math.is_finite(mean_over_replicas(loss))
        assertion = tf.debugging.Assert(finite, [NOT_FINITE, "at step", self.step, "level", level])
        with tf.control_dependencies([] if assertion is None else [assertion]):
            return tf.identity(loss)

    def update(self, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]) -> None:
        """Moves variables by the gradients, summed over replicas."""
        apply(self.optimizer, gradients, variables, self.updates)

    def report(
        self, values: Sequence[Any], metrics: list[keras.metrics.Metric] | None = None, weights: Any = None
    ) -> dict[str, Any]:
        """Updates metrics with this step's values.

        Args:
            values: one for each metric.
            metrics: by default those of a training step.
            weights: (batch,) of the images, for values of that shape; default equal ones.

        Returns:
            Their results so far, by name.
        """
        metrics = self.progress if metrics is None else metrics
        for metric, value in zip(metrics, values, strict=True):
            metric.update_state(value, weights)
        return {metric.name: metric.result() for metric in metrics}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Metrics that ``fit`` resets every epoch."""
        return [*self.progress, *self.evaluation]


class LevelTrainer(Trainer):
    """The trainer of a supernet: reports every level, the routed model and the gate.

    Args:
        supernet: the model to train; trained in place.
        seed: see ``Trainer``.
        **kwargs: of ``keras.Model``.
    """

    jit_compile: Any  # Keras' property

    def __init__(self, supernet: Supernet, seed: int = 0, **kwargs: Any):
        super().__init__(supernet, Supernet, seed, **kwargs)
        self._routes: Any = None
        count = len(supernet.levels)
        names = [f"level{k}_accuracy" for k in range(count)]
        names += ["routed_accuracy", "routed_madds", *(f"gate_mix{k}" for k in range(count))]
        self.evaluation = means(*names)

    @property
    def supernet(self) -> Supernet:
        """The network that is trained."""
        return self.network

    @property
    def routes(self) -> tuple:
        """See ``Trainer``."""
        return self.supernet.default_policy, self.supernet.cascade

    def make_test_function(self, force: bool = False) -> Any:
        """As Keras'; traced anew where the model routes in another way than when it was traced. XLA cannot route."""
        routes = self.routes
        force, self._routes = force or routes != self._routes, routes
        compiled = self.jit_compile
        self.jit_compile = False
        try:
            return super().make_test_function(force)
        finally:
            self.jit_compile = compiled

    def test_step(self, data: Any) -> dict[str, Any]:
        """Accuracy of every level, of the routed model, and the argmax mix of the gate; weights of images count."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        model = self.supernet
        features, gate_features = model.start(Compute(0), model.check_images(x))
        recorded = Recorded(logits_by_level(model, features), model.gate(Compute(0), gate_features))
        values = [accuracy(y, logits) for logits in tf.unstack(recorded.logits_by_level, len(model.levels), axis=1)]
        routed = replay(model, recorded, model.default_policy)
        values += [accuracy(y, routed.logits), routed.madds]
        gate = routing.shifted(model, recorded.gate_logits)
        chosen = tf.one_hot(tf.argmax(gate, axis=1), len(model.levels))
        values += tf.unstack(chosen, axis=1)
        return self.report(values, self.evaluation, weights)


def means(*names: str) -> list[keras.metrics.Metric]:
    """A mean in float32 for each name, whatever ``keras.config.floatx()`` says."""
    return [keras.metrics.Mean(name=name, dtype="float32") for name in names]


def accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """1.0 where the argmax is the label.

    Args:
        labels: (batch,) integers, or (batch, classes) probabilities, whose argmax counts.
        logits: (batch, classes).

    Returns:
        (batch,) float32.
    """
    labels = check_labels(labels, logits.shape[-1])
    labels = tf.argmax(labels, axis=1) if labels.shape.rank == 2 else labels
    guess = tf.argmax(logits, axis=1, output_type=tf.int32)
    return tf.cast(tf.equal(guess, tf.cast(labels, tf.int32)), tf.float32)  # == would lose the static shape
