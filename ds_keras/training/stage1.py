"""Stage I: trains the supernet, every level of it, with the sandwich rule and a moving-average teacher."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.levels import Level, LevelTensor
from ds_keras.models.supernet import Supernet
from ds_keras.quantization.rounding import check_quantize
from ds_keras.training import losses
from ds_keras.training.base import LevelTrainer, accuracy
from ds_keras.training.distillation import TEACHERS, Targets, follow, probabilities, trained_teacher
from ds_keras.training.weight_decay import active_kernels

OBJECTIVES = ("ib", "mvco", "distill", "inplace", "ce")


class SupernetTrainer(LevelTrainer):
    """Stage I. Each step runs the largest, ``num_random`` random and the smallest sub-network on one batch.

    With y the (smoothed) labels and T the softmax of an exponential moving average of the supernet, by default at the
    largest level, pass i (0 is the largest) minimises the cross-entropy of its prediction to the target

    - "ib" (in-place bootstrapping): y for i = 0, else w y + (1 - w) T(x);
    - "mvco" (multi-view consistency): w y + (1 - w) mean over v of T(x_v), for all i; pass i sees view i mod V;
    - "distill": w y + (1 - w) T(x), for all i; T is the largest level of another network, which does not move;
    - "inplace": y for i = 0, else w y + (1 - w) softmax of this step's largest output;
    - "ce": y.

    ``sample_weight`` and ``class_weight`` of ``fit`` weigh the images in every pass. Gradients are summed, then one
    optimizer step. The shared start runs once; each body has a tape of its own and they run one after another, so
    that one body's activations are in memory at a time.

    Args:
        model: supernet, trained in place.
        num_random: random levels in each step, drawn in the graph; None runs every level in each step instead.
        objective: "ib", "mvco", "distill", "inplace" or "ce".
        label_smoothing: in [0, 1).
        hard_label_weight: w; default 0 (the paper's), and 0.5 for "mvco" (ViTs need the labels; ours).
        distill_start: steps before which all learn the labels: a teacher that knows nothing yet hurts (ours).
        views: V of "mvco" (default 2): images are (batch, views, height, width, channels), see ``data.batches``.
        teacher: level of T: "largest", or "next": that of the next larger pass (Scala, NeurIPS 2024). Of "distill": a
            trained supernet of the same classes, or the name or the directory of its preset.
        ensemble: the smallest matches the mean of the teacher's largest and random outputs (the paper's variant).
        ema_decay: of the teacher; warmed up as min(ema_decay, (1 + step) / (10 + step)).
        keep_weight: in [0, 1]: how far the smallest pass's images weigh by their margin, so that it learns what a
            cascade will leave to it, and not what goes on to larger levels (ours).
        gate_weight: of the gate's loss, trained along with the supernet, the shared start included; 0 leaves the gate
            to Stage II. The gate learns how sure the smallest pass is (its margin; ours).
        weight_decay: L2 on the kernels that this step's largest sub-network uses; nothing outside it shrinks.
        quantize: "int8" trains for int8 files (quantisation-aware): kernels and activations are rounded as there, and
            gradients pass straight through. The teacher, and what ``fit`` reports of held-out images, stay float.
        levels: train these levels only (ints); default all, with ``teacher_level`` as the largest. A single one has no
            teacher: it learns the labels, whatever the objective, from one view.
        seed: of the drawn levels.
        **kwargs: of ``keras.Model``.

    Raises:
        ValueError: bad arguments.

    Source: DS-Net, arXiv 2103.13258, section 3.3; sandwich rule: arXiv 1903.05134; multi-view consistency: DS-Net++,
    arXiv 2109.10060, which gives no formula that we know: this one is our reading. "distill": DeiT, arXiv 2012.12877.

    Example:
        >>> trainer = SupernetTrainer(model)
        >>> trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True))
        >>> trainer.fit(train, validation_data=held_out, epochs=20)
        >>> calibrate_batch_norm(model, train)
    """

    def __init__(
        self,
        model: Supernet,
        num_random: int | None = 2,
        objective: str = "ib",
        label_smoothing: float = 0.1,
        hard_label_weight: float | None = None,
        distill_start: int = 0,
        views: int | None = None,
        teacher: str | os.PathLike | Supernet = "largest",
        ensemble: bool = False,
        ema_decay: float = 0.997,
        keep_weight: float = 0.0,
        gate_weight: float = 0.0,
        weight_decay: float = 1e-4,
        quantize: str | None = None,
        levels: Sequence[int] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(model, seed, **kwargs)
        if objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {OBJECTIVES}, received {objective!r}")
        self.teacher = None
        if objective == "distill":
            self.teacher, teacher = trained_teacher(teacher, model), "largest"
        if teacher not in TEACHERS:
            raise ValueError(f"teacher must be one of {TEACHERS}, received {teacher!r}")
        if objective not in ("ib", "mvco") and (teacher != "largest" or ensemble):
            raise ValueError(f"teacher and ensemble belong to 'ib' and 'mvco', received them with {objective!r}")
        if objective != "mvco" and views is not None:
            raise ValueError(f"views belongs to 'mvco', received {views!r} with {objective!r}")
        views = 2 if views is None else views
        if hard_label_weight is None:
            hard_label_weight = 0.5 if objective == "mvco" else 0.0
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), received {label_smoothing!r}")
        if not 0 <= hard_label_weight <= 1:
            raise ValueError(f"hard_label_weight must be in [0, 1], received {hard_label_weight!r}")
        if not 0 <= keep_weight <= 1 or gate_weight < 0:
            raise ValueError(
                f"keep_weight must be in [0, 1] and gate_weight at least 0, received {keep_weight!r}, {gate_weight!r}"
            )
        if gate_weight and objective == "mvco":
            raise ValueError(
                f"gate_weight must be 0 with 'mvco', whose passes see several views, received {gate_weight!r}"
            )
        counts = {"num_random": num_random or 0, "distill_start": distill_start, "views": views}
        for name, value in counts.items():
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} must be an integer of at least 0, received {value!r}")
        if not 0 <= ema_decay < 1 or weight_decay < 0:
            raise ValueError(
                f"ema_decay must be in [0, 1) and weight_decay at least 0, received {ema_decay!r}, {weight_decay!r}"
            )
        self.kind = check_quantize(model, quantize)
        self.num_random, self.objective, self.label_smoothing = num_random, objective, label_smoothing
        self.keep_weight, self.gate_weight = keep_weight, gate_weight
        self.ema_decay, self.weight_decay = ema_decay, weight_decay
        self.candidates = [model.static_level(k) for k in (range(len(model.levels)) if levels is None else levels)]
        if not self.candidates:
            raise ValueError(f"levels must name at least one level, received {levels!r}")
        self.largest = model.teacher_level.index if levels is None else max(self.candidates)
        self.smallest = min(self.candidates)
        alone = self.smallest == self.largest
        if objective in ("ib", "mvco") and not alone:
            self.teacher = model.clone()
        passes = len({self.largest, *self.candidates}) if num_random is None else num_random + 2
        if objective == "mvco" and not 2 <= views <= passes:
            raise ValueError(f"views must be in [2, passes of a step = {passes}], received {views!r}")
        if self.teacher is not None:
            self.teacher.trainable = False
        self.views = views if objective == "mvco" and not alone else 1
        self.targets = Targets(objective, self.teacher, teacher, ensemble, hard_label_weight, distill_start)
        self.progress = [
            keras.metrics.Mean(name=name) for name in ("largest_loss", "smallest_loss", "largest_accuracy")
        ]

    @property
    def all_active(self) -> bool:
        """Whether the largest pass uses the whole of every kernel."""
        return self.largest == self.supernet.teacher_level.index

    @property
    def trained_variables(self) -> list[keras.Variable]:
        """All trainable variables; the slimming branch only where ``gate_weight`` trains it."""
        gate = self.supernet.gate_variables if self.gate_weight else []
        return [*self.supernet.supernet_variables, *gate]

    def train_step(self, data: Any) -> dict[str, Any]:
        """One optimizer step over all passes."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        views = self.split_views(x)
        truth = losses.smooth_labels(y, self.supernet.num_classes, self.label_smoothing)
        variables, levels = self.trained_variables, self.draw_levels()
        with tf.GradientTape() as start_tape:  # every deployable level shares it: it runs once
            visitor = self.kind(self.smallest, training=True)
            shared, gate_features = self.supernet.start(visitor, tf.concat(views, axis=0))
            shared = visitor.rounded(shared)
            gate = self.supernet.gate(visitor, gate_features) if self.gate_weight else None
        features = tf.split(shared, self.views)
        targets = self.targets(views, truth, levels, self.step)
        total, starts = [None] * len(variables), [tf.zeros_like(part) for part in features]
        previous, outputs = [], []
        for i, level in enumerate(levels):
            view = i % self.views
            with tf.control_dependencies(previous):  # the activations of one sub-network at a time
                if self.objective == "inplace" and i > 0:
                    targets[i] = self.targets.blend(truth, lambda: probabilities(outputs[0][0]), self.step)
                with tf.GradientTape() as tape:
                    tape.watch(features[view])
                    logits = self.forward(views[view], features[view], level, largest=i == 0)
                    keeps = self.keep_weight > 0 and 0 < i == len(levels) - 1
                    weights = losses.kept_weights(logits, self.keep_weight) if keeps else 1.0
                    weights = weights if sample_weight is None else weights * tf.cast(sample_weight, tf.float32)
                    loss = self.check_finite(losses.cross_entropy(targets[i], logits, weights), level)
                    scaled = self.share(loss + self.decay() if i == 0 else loss)
                start, *gradients = tape.gradient(scaled, [features[view], *variables])
                previous = [gradient for gradient in (start, *gradients) if gradient is not None]
                total = [_add(a, b) for a, b in zip(total, gradients, strict=True)]
                starts[view] = _add(starts[view], start)
            outputs.append((tf.stop_gradient(logits), loss))
        heads, flows = [shared], [tf.concat(starts, axis=0)]
        if gate is not None:
            heads, flows = [*heads, gate], [*flows, self.gate_gradient(gate, outputs[-1][0])]
        gradients = start_tape.gradient(heads, variables, output_gradients=flows)
        total = [_add(a, b) for a, b in zip(total, gradients, strict=True)]
        known = [(gradient, v) for gradient, v in zip(total, variables, strict=True) if gradient is not None]
        self.optimizer.apply(*zip(*known, strict=True))  # levels= may name some that lack blocks
        if self.objective in ("ib", "mvco") and self.teacher is not None:
            follow(self.teacher, self.supernet, self.ema_decay, self.step)
        for metric, value in zip(
            self.progress, (outputs[0][1], outputs[-1][1], accuracy(y, outputs[0][0])), strict=True
        ):
            metric.update_state(value)
        return {metric.name: metric.result() for metric in self.progress}

    def gate_gradient(self, gate: tf.Tensor, smallest: tf.Tensor) -> tf.Tensor:
        """The gradient of the gate's loss to its (batch, levels) logits, from the smallest pass's logits."""
        easy = losses.margin(tf.cast(smallest, tf.float32))
        with tf.GradientTape() as tape:
            tape.watch(gate)
            loss = self.share(self.gate_weight * losses.sandwich(easy, gate, tf.reduce_mean(easy)))
        return tape.gradient(loss, gate)

    def split_views(self, x: tf.Tensor) -> list[tf.Tensor]:
        """The views of a batch: (batch, height, width, channels) each."""
        if self.views == 1:
            return [self.supernet.check_images(x)]
        x = tf.convert_to_tensor(x)
        if x.shape.rank != 5 or x.shape[1] != self.views:
            raise ValueError(
                f"x must have shape (batch, views={self.views}, height, width, channels), received {tuple(x.shape)}: "
                "give views= to ds_keras.data.batches"
            )
        return [self.supernet.check_images(view) for view in tf.unstack(x, axis=1)]

    def draw_levels(self) -> list[Level]:
        """Largest, random ones (or all between), smallest; just the one where only one level is trained."""
        if self.largest == self.smallest:
            return [self.largest]
        if self.num_random is None:
            return sorted({self.largest, *self.candidates}, reverse=True)
        picks = tf.random.stateless_uniform([self.num_random], self.step_seed(0), 0, len(self.candidates), tf.int32)
        if self.targets.teacher_at == "next":
            picks = tf.sort(picks, direction="DESCENDING")
        randoms = tf.gather(tf.constant(self.candidates, tf.int32), picks)
        drawn = [LevelTensor(level, len(self.supernet.levels)) for level in tf.unstack(randoms)]
        return [self.largest, *drawn, self.smallest]

    def forward(self, x: tf.Tensor, features: tf.Tensor, level: Level, largest: bool) -> tf.Tensor:
        """A training pass at one level; dropout acts in the largest only. A wider teacher has its own start."""
        visitor = self.kind(level, training=True, dropout=self.step_seed(2) if largest else None)
        if largest and self.largest >= len(self.supernet.levels):
            return visitor.rounded(self.supernet.logits(visitor, x))
        return visitor.rounded(self.supernet.body(visitor, features))

    def decay(self) -> tf.Tensor:
        """``weight_decay`` x half the squared norm of the kernels that the largest pass uses."""
        if not self.weight_decay:
            return tf.constant(0.0)
        return self.weight_decay * tf.add_n([tf.nn.l2_loss(k) for k in active_kernels(self.supernet, self.largest)])


def _add(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return a + b
