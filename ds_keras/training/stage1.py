"""Stage I: trains the supernet, every level of it, with the sandwich rule and a moving-average teacher."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.levels import Level, LevelTensor
from ds_keras.core.visitor import Compute
from ds_keras.models.supernet import Supernet
from ds_keras.quantization.rounding import check_quantize
from ds_keras.training import arguments, losses
from ds_keras.training.base import LevelTrainer, accuracy, means
from ds_keras.training.distillation import Targets, follow, trained_teacher
from ds_keras.training.distributed.norms import Norms
from ds_keras.training.passes import Pass, PassSettings, add_gradients
from ds_keras.training.weight_decay import active_kernels

OBJECTIVES = ("ib", "mvco", "distill", "inplace", "ce")
VIEWS = 2  # of every image with "mvco"
CHECKS = {
    "objective": arguments.one_of(OBJECTIVES),
    "label_smoothing": arguments.BELOW_ONE,
    "hard_label_weight": arguments.SHARE,
    "num_random": arguments.COUNT_OR_NONE,
    "distill_start": arguments.COUNT,
    "ema_decay": arguments.BELOW_ONE,
    "weight_decay": arguments.NOT_NEGATIVE,
}


class SupernetTrainer(LevelTrainer):
    """Stage I. Each step runs the largest, ``num_random`` random and the smallest sub-network on one batch.

    With y the (smoothed) labels and T the softmax of an exponential moving average of the supernet at the largest
    level, pass i (0 is the largest) minimises the cross-entropy of its prediction to the target

    - "ib" (in-place bootstrapping): y for i = 0, else w y + (1 - w) T(x);
    - "mvco" (multi-view consistency): w y + (1 - w) mean over v of T(x_v), for all i; pass i sees view i mod 2;
    - "distill": w y + (1 - w) T(x), for all i; T is the largest level of another network, which does not move;
    - "inplace": y for i = 0, else w y + (1 - w) softmax of this step's largest output;
    - "ce": y.

    ``sample_weight`` and ``class_weight`` of ``fit`` weigh the images in every pass. Gradients are summed, then one
    optimizer step. The shared start runs once; each body has a tape of its own and they run one after another, so
    that one body's activations are in memory at a time.

    Args:
        model: supernet, trained in place.
        num_random: random levels in each step, drawn in the graph; None runs every level in each step instead.
        objective: "ib", "mvco", "distill", "inplace" or "ce". With "mvco" images are (batch, 2, height, width,
            channels): two views of each, see ``data.batches(views=2)``.
        label_smoothing: in [0, 1).
        hard_label_weight: w; default 0 (the paper's), and 0.5 for "mvco" (ViTs need the labels; ours).
        distill_start: before this step all passes learn the labels, since an untrained teacher does harm (ours).
        teacher: of "distill": a trained supernet of the same classes, or the name or the directory of its preset.
        ema_decay: of the moving average; warmed up as min(ema_decay, (1 + step) / (10 + step)).
        weight_decay: L2 on the kernels that this step's largest sub-network uses; nothing outside it shrinks.
        quantize: "int8" trains for int8 files (quantisation-aware): kernels and activations are rounded as there, and
            gradients pass straight through. The teacher, and what ``fit`` reports of held-out images, stay float.
        levels: train these levels only (ints); default all, with ``teacher_level`` as the largest. A single one has no
            moving average: it learns the labels, from one view, or with "distill" its teacher.
        frozen_start: the shared start keeps its weights and statistics: for one that was trained on more images.
        fixed_statistics: levels (ints) that keep their BatchNorm statistics and train with them folded into the
            convolutions, which is faster, and keeps what a trained network's statistics know (needs num_random=None).
        shares: for each level, the share of the batch that its pass sees (the first images), the smallest all of it:
            large levels that were trained before need fewer (needs num_random=None; not with "inplace", whose largest
            pass teaches the others).
        synchronized: whether replicas of a ``tf.distribute`` strategy share the BatchNorm statistics of a batch, so
            that a step is that of one device with the whole batch. False takes those of each replica's part, which
            needs less communication; the moving averages are then averaged at the end of a step.
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
        teacher: str | os.PathLike | Supernet | None = None,
        ema_decay: float = 0.997,
        weight_decay: float = 1e-4,
        quantize: str | None = None,
        levels: Sequence[int] | None = None,
        frozen_start: bool = False,
        fixed_statistics: Sequence[int] = (),
        shares: Sequence[float] | None = None,
        synchronized: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(model, seed, **kwargs)
        if hard_label_weight is None:
            hard_label_weight = 0.5 if objective == "mvco" else 0.0
        arguments.check_arguments(CHECKS, locals())
        self.objective, self.num_random, self.label_smoothing = objective, num_random, label_smoothing
        self.ema_decay, self.weight_decay = ema_decay, weight_decay
        self.norms = Norms(model, synchronized)
        kind = check_quantize(model, quantize)
        if objective == "inplace" and shares is not None:
            raise ValueError(f"shares must be None with 'inplace', whose largest pass teaches all; received {shares!r}")
        self.settings = PassSettings(model, kind, frozen_start, fixed_statistics, shares, num_random)
        self.candidates = self._candidates(levels)
        self.largest = model.teacher_level.index if levels is None else max(self.candidates)
        self.smallest = min(self.candidates)
        self.views = VIEWS if objective == "mvco" and not self.alone else 1
        self.teacher, teacher_level = self._make_teacher(teacher)
        self.targets = Targets(objective, self.teacher, teacher_level, hard_label_weight, distill_start)
        self.progress = means("largest_loss", "smallest_loss", "largest_accuracy")
        if self.partial:
            self.evaluation = means(*(f"level{level}_accuracy" for level in sorted(set(self.candidates))))

    def _candidates(self, levels: Sequence[int] | None) -> list[int]:
        """The levels that are trained."""
        if levels is None:
            return list(range(len(self.supernet.levels)))
        if not len(levels):
            raise ValueError(f"levels must name at least one level, received {levels!r}")
        return [self.supernet.static_level(level) for level in levels]

    def _make_teacher(self, teacher: Any) -> tuple[Supernet | None, int]:
        """Another network, a copy of this one that will follow it, or None; and the level at which it predicts."""
        if teacher is not None and self.objective != "distill":
            raise ValueError(f"teacher belongs to 'distill', received {teacher!r} with {self.objective!r}")
        if self.objective == "distill":
            made = trained_teacher(teacher, self.supernet)
            level = made.levels[-1].index
        elif self.objective in ("ib", "mvco") and not self.alone:
            made, level = self.supernet.clone(), self.largest
        else:
            return None, self.largest
        made.trainable = False
        return made, level

    @property
    def alone(self) -> bool:
        """Whether a single level is trained."""
        return self.smallest == self.largest

    @property
    def partial(self) -> bool:
        """Whether some levels are not trained, so that no policy can use the network."""
        return len(set(self.candidates)) < len(self.supernet.levels)

    @property
    def all_active(self) -> bool:
        """Whether the largest pass uses the whole of every kernel."""
        return self.largest == self.supernet.teacher_level.index

    @property
    def static_shapes(self) -> bool:
        """Whether no level is drawn."""
        return self.alone or not self.num_random

    @property
    def trained_variables(self) -> list[keras.Variable]:
        """All trainable variables but the slimming branch, which is Stage II's."""
        frozen = self.settings.frozen()
        return [v for v in self.supernet.supernet_variables if id(v) not in frozen]

    def train_step(self, data: Any) -> dict[str, Any]:
        """One optimizer step over all passes."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        weights = 1.0 if weights is None else tf.cast(weights, tf.float32)
        truth = losses.smooth_labels(y, self.supernet.num_classes, self.label_smoothing)
        views, levels = self.split_views(x), self.draw_levels()
        with tf.GradientTape() as start_tape:  # the start has one width at every level, so it runs once
            features = self.start(views)
        soft = self.targets.of_teacher(views, truth, self.step)
        total = [None] * len(self.trained_variables)
        to_start = [tf.zeros_like(part) for part in features]
        passes: list[Pass] = []
        for i, level in enumerate(levels):
            view = i % self.views
            with tf.control_dependencies(passes[-1].gradients if passes else []):  # one body in memory at a time
                if i == 1 and self.objective == "inplace":
                    soft = self.targets.of_largest(passes[0].logits, truth, self.step)
                target = truth if i == 0 and not self.targets.teaches_largest else soft
                done = self.one_pass(views[view], features[view], level, target, weights, largest=i == 0)
                total = add_gradients(total, done.to_variables)
                (to_start[view],) = add_gradients([to_start[view]], [done.to_features])
            passes.append(done)
        total = add_gradients(total, start_tape.gradient(features, self.trained_variables, output_gradients=to_start))
        self.norms.average()
        self.apply(total)
        if self.objective in ("ib", "mvco") and self.teacher is not None:
            follow(self.teacher, self.supernet, self.ema_decay, self.step)
        largest, smallest = passes[0], passes[-1]
        return self.report((largest.loss, smallest.loss, accuracy(y[: tf.shape(largest.logits)[0]], largest.logits)))

    def test_step(self, data: Any) -> dict[str, Any]:
        """As of ``LevelTrainer``; where a part of the levels is trained, the accuracy of these alone."""
        if not self.partial:
            return super().test_step(data)
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        model = self.supernet
        features, _ = model.start(Compute(0), model.check_images(x))
        logits = [model.body(Compute(level), features) for level in sorted(set(self.candidates))]
        return self.report([accuracy(y, each) for each in logits], self.evaluation, weights)

    def start(self, views: list[tf.Tensor]) -> list[tf.Tensor]:
        """The features of the shared start for each view, in one pass."""
        visitor = self.settings.start(self.smallest)
        features, _ = self.supernet.start(visitor, tf.concat(views, axis=0))
        return tf.split(visitor.rounded(features), self.views)

    def one_pass(
        self, x: tf.Tensor, features: tf.Tensor, level: Level, target: tf.Tensor, weights: Any, largest: bool
    ) -> Pass:
        """Loss and gradients at one level.

        Args:
            x: (batch, height, width, channels) images.
            features: of the shared start for them.
            level: slice level.
            target: (batch, classes) probabilities.
            weights: (batch,) of the images, or a number.
            largest: whether this is the largest pass, which carries the weight decay.

        Returns:
            The pass.
        """
        with tf.GradientTape() as tape:
            if self.settings.start_moves:
                tape.watch(features)
            x, seen, target, weights = self.settings.part_of_batch(level, x, features, target, weights)
            logits = self.forward(x, seen, level, largest)
            loss = self.check_finite(losses.cross_entropy(target, logits, weights), level)
            scaled = self.share(loss + self.decay() if largest else loss)
        to_features, *to_variables = tape.gradient(scaled, [features, *self.trained_variables])
        return Pass(tf.stop_gradient(logits), loss, to_features, to_variables)

    def apply(self, gradients: list[tf.Tensor | None]) -> None:
        """Moves the variables that have a gradient: ``levels=`` may name some that lack blocks."""
        pairs = zip(gradients, self.trained_variables, strict=True)
        self.update(*zip(*((g, v) for g, v in pairs if g is not None), strict=True))

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
        if self.alone:
            return [self.largest]
        if self.num_random is None:
            return list(sorted({self.largest, *self.candidates}, reverse=True))
        self.norms.check_drawn()
        picks = tf.random.stateless_uniform([self.num_random], self.step_seed(0), 0, len(self.candidates), tf.int32)
        randoms = tf.gather(tf.constant(self.candidates, tf.int32), picks)
        drawn = [LevelTensor(level, len(self.supernet.levels)) for level in tf.unstack(randoms)]
        return [self.largest, *drawn, self.smallest]

    def forward(self, x: tf.Tensor, features: tf.Tensor, level: Level, largest: bool) -> tf.Tensor:
        """A training pass at one level; dropout acts in the largest only. A wider teacher has its own start."""
        visitor = self.settings.body(level, dropout=self.step_seed(2) if largest else None)
        if largest and self.largest >= len(self.supernet.levels):
            return visitor.rounded(self.supernet.logits(visitor, x))
        return visitor.rounded(self.supernet.body(visitor, features))

    def decay(self) -> tf.Tensor:
        """``weight_decay`` x half the squared norm of the kernels that the largest pass uses."""
        if not self.weight_decay:
            return tf.constant(0.0)
        return self.weight_decay * tf.add_n([tf.nn.l2_loss(k) for k in active_kernels(self.supernet, self.largest)])
