"""Stage I with a trained network as the teacher."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, images, nano, nano_resnet, nano_vit, same, snapshot

from ds_keras import zoo
from ds_keras.training import SupernetTrainer, losses

X, Y = images(8), np.arange(8) % 3


def make(model, **kwargs):
    trainer = SupernetTrainer(model, objective="distill", num_random=0, weight_decay=0.0, **kwargs)
    trainer.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    return trainer


def test_every_pass_matches_the_teacher():
    """By hand: both passes have the target w y + (1 - w) T, the largest too; the teacher does not move."""
    teacher, hard = nano_resnet(), 0.4
    model, twin, before = nano_vit(), nano_vit(), snapshot(teacher)
    make(model, teacher=teacher, hard_label_weight=hard).train_on_batch(X, Y)
    target = hard * losses.smooth_labels(Y, 3, 0.1) + (1 - hard) * tf.nn.softmax(teacher(X, level=2))
    variables = [v.value for v in twin.supernet_variables]
    with tf.GradientTape() as tape:
        loss = sum(losses.cross_entropy(target, twin(X, level=level, training=True)) for level in (2, 0))
    for mine, start, gradient in zip(
        model.supernet_variables, twin.supernet_variables, tape.gradient(loss, variables), strict=True
    ):
        close(mine, array(start) - 0.1 * array(gradient), tolerance=1e-5)
    for name, value in snapshot(teacher).items():
        same(value, before[name])


def test_a_single_level_has_the_teacher_too():
    teacher, model = nano_resnet(), nano()
    trainer = make(model, teacher=teacher, levels=[0])
    target = trainer.targets.of_teacher([tf.constant(X)], losses.smooth_labels(Y, 3, 0.1), step=0)
    assert trainer.targets.teaches_largest and trainer.draw_levels() == [0]
    close(target, tf.nn.softmax(teacher(X, level=2)), tolerance=1e-6)


def test_a_preset_is_a_teacher(tmp_path):
    teacher = nano_resnet()
    zoo.save(teacher, tmp_path / "mine")
    found = make(nano(), teacher=tmp_path / "mine").teacher
    close(found(X, level=2), teacher(X, level=2), tolerance=1e-6)


@pytest.fixture(scope="module")
def pupil():
    """Do not change it."""
    return nano(labels=["a", "b", "c"])


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (3, "teacher must be a trained supernet or a preset for objective='distill', received 3"),
        (None, "teacher must be a trained supernet or a preset"),
        ("ds_mobilenex", "unknown preset 'ds_mobilenex'"),
        ("ds_mobilenet_digits", "teacher must have the model's num_classes, 3, received one with 10"),
        (lambda: nano(input_shape=(16, 16, 1)), "teacher must have the model's image_shape"),
        (lambda: nano(labels=["x", "y", "z"]), "teacher must have the model's labels"),
    ],
    ids=range(6),
)
def test_refused(pupil, teacher, message):
    with pytest.raises(ValueError, match=message):
        make(pupil, teacher=teacher() if callable(teacher) else teacher)
