"""What a run does besides with a network that starts from trained weights: orders its channels, asks a teacher once."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ds_keras.convert.importance import order_channels
from ds_keras.experiments.config import TrainingStage
from ds_keras.training.distillation import trained_teacher
from ds_keras.training.soft_labels import repeated, soft_labels

if TYPE_CHECKING:
    from ds_keras.experiments.run import Run

ORDER_BATCH = 100  # images at a time


def order_by_images(run: "Run") -> None:
    """Orders the model's channels by what the first ``order_images`` training images say of them, where it is asked."""
    count = run.experiment.order_images
    if count:
        plain = TrainingStage(1, 0.0, batch_size=min(ORDER_BATCH, count), augment="flip")
        order_channels(run.model, "taylor", run.batches(plain, 0, -(-count // plain.batch_size)))


def with_teacher(run: "Run", stage: TrainingStage, batches: Callable, per_epoch: int, end: int) -> Callable:
    """A stream that begins anew after ``stage.repeat`` epochs, with the teacher's predictions in its labels.

    Args:
        run: of the experiment.
        stage: that is trained.
        batches: f(first, last) -> dataset of steps [first, last).
        per_epoch: steps.
        end: last step of the stage.

    Returns:
        f(first, last), as ``batches``; as it is where the stage repeats nothing.
    """
    make_teacher = run.experiment.teacher
    if not stage.repeat or make_teacher is None:
        return batches
    teacher = trained_teacher(make_teacher(), run.model)
    period = min(stage.repeat * per_epoch, end)
    table = soft_labels(teacher, batches, period, run.workdir / "soft_labels.npz", run.experiment.teacher_size)
    return repeated(batches, table, stage.label_weight)
