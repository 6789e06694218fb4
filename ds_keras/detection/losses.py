"""Which location has to find which box, and the loss of a level."""

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import tensorflow as tf

from ds_keras.detection.data.pipeline import IGNORED, NOTHING

if TYPE_CHECKING:
    from ds_keras.detection.network import DSDetector

SPAN = 6.0  # strides that a box's side has at the most, to be found at that stride
NEAR = 1.5, 0.5  # strides: locations that far from a box's centre find it, at the most and at the least
BOX_WEIGHT = 2.0  # of the loss of boxes to that of scores
FOCUS = 2.0  # exponent of the focal loss


class Targets(NamedTuple):
    """What every location has to give.

    Args:
        boxes: (batch, locations, 4) fractions; zeros where there is none.
        classes: (batch, locations) int32: a class, ``NOTHING``, or ``IGNORED``.
    """

    boxes: tf.Tensor
    classes: tf.Tensor


class Found(NamedTuple):
    """What a level gave.

    Args:
        boxes: (batch, locations, 4) fractions.
        scores: (batch, locations, classes) in [0, 1].
        loss: scalar.
        overlap: scalar, mean intersection over union of the boxes that had to be found.
    """

    boxes: tf.Tensor
    scores: tf.Tensor
    loss: tf.Tensor
    overlap: tf.Tensor


def assign(model: "DSDetector", boxes: tf.Tensor, classes: tf.Tensor) -> Targets:
    """Gives boxes to locations: those near its centre, of the stride that suits its size; the smallest box wins.

    Args:
        model: has the locations.
        boxes: (batch, most, 4) fractions.
        classes: (batch, most) integers, see ``data.pipeline.batches``.

    Returns:
        ``Targets``. Locations inside a box that is ``IGNORED``, and in charge of no other, are too.

    Source: centre sampling and the smallest box, FCOS, arXiv 1904.01355, section 3.
    """
    side = tf.constant(model.image_shape[1::-1], tf.float32)
    corners = tf.reshape(boxes, [*tf.unstack(tf.shape(boxes)[:2]), 2, 2]) * side
    middle, extent = tf.reduce_mean(corners, axis=2), corners[:, :, 1] - corners[:, :, 0]
    stride = tf.constant(model.reaches)  # (locations, 1)
    away = tf.abs(model.centres[:, None] - middle[:, None])  # (batch, locations, most, 2)
    radius = tf.maximum(NEAR[1] * stride[:, None], tf.minimum(NEAR[0] * stride[:, None], extent[:, None] / 2))
    length = tf.sqrt(tf.reduce_prod(extent, axis=-1))[:, None]  # (batch, 1, most)
    low = tf.where(stride == model.strides[0], 0.0, SPAN * stride * _ratio(model))
    high = tf.where(stride == model.strides[-1], float("inf"), SPAN * stride)
    suits = (length >= low) & (length < high)
    real = (classes >= 0)[:, None]
    candidate = tf.reduce_all(away <= radius, axis=-1) & suits & real
    area = tf.where(candidate, length, float("inf"))
    chosen = tf.argmin(area, axis=-1)  # (batch, locations)
    has = tf.reduce_any(candidate, axis=-1)
    inside = tf.reduce_all(away <= extent[:, None] / 2, axis=-1) & (classes == IGNORED)[:, None]
    other = tf.where(tf.reduce_any(inside, axis=-1), IGNORED, NOTHING)
    found = tf.where(has, tf.gather(classes, chosen, batch_dims=1), other)
    return Targets(tf.where(has[..., None], tf.gather(boxes, chosen, batch_dims=1), 0.0), found)


def _ratio(model: "DSDetector") -> tf.Tensor:
    """(locations, 1): the stride before a location's own, as a fraction of it."""
    before = {stride: last / stride for last, stride in zip(model.strides, model.strides[1:], strict=False)}
    return tf.constant([[before.get(int(stride), 1.0)] for stride in model.reaches[:, 0]], tf.float32)


def loss_of(model: "DSDetector", raw: Any, targets: Targets, teacher: Found | None, share: Any) -> Found:
    """The loss of a level: focal loss of the scores, complete IoU loss of the boxes.

    The score that a location has to give is the overlap of its box with the true one, so that sure boxes are good ones.
    A teacher's scores and boxes are mixed in.

    Args:
        model: the detector.
        raw: (batch, locations, 4 + classes), what the level gave.
        targets: see ``assign``.
        teacher: what the largest level gave for the same images, or None.
        share: of the teacher in the targets, in [0, 1].

    Returns:
        ``Found``.

    Source: quality focal loss, arXiv 2006.04388, equation 5; complete IoU, arXiv 1911.08287.
    """
    boxes, logits = model.decode(tf.cast(raw, tf.float32))
    scores = tf.sigmoid(logits)
    mask = tf.cast(targets.classes >= 0, tf.float32)
    count = tf.maximum(tf.reduce_sum(mask), 1.0)
    side = tf.constant([*model.image_shape[1::-1]] * 2, tf.float32)
    overlap = tf.stop_gradient(paired_overlap(boxes, targets.boxes)) * mask
    truth = tf.one_hot(targets.classes, model.num_classes) * overlap[..., None]
    missed = 1 - _complete(boxes * side, targets.boxes * side)
    if teacher is not None:
        truth = (1 - share) * truth + share * teacher.scores
        missed = (1 - share) * missed + share * (1 - _complete(boxes * side, teacher.boxes * side))
    focal = tf.abs(truth - scores) ** FOCUS * tf.nn.sigmoid_cross_entropy_with_logits(truth, logits)
    of_scores = tf.reduce_sum(tf.where((targets.classes == IGNORED)[..., None], 0.0, focal)) / count
    of_boxes = tf.reduce_sum(tf.where(mask > 0, missed, 0.0)) / count
    mean = tf.reduce_sum(overlap) / count
    return Found(tf.stop_gradient(boxes), tf.stop_gradient(scores), of_scores + BOX_WEIGHT * of_boxes, mean)


def paired_overlap(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Intersection over union of boxes with those at the same place.

    Args:
        first: (..., 4) boxes.
        second: (..., 4) boxes.

    Returns:
        (...) in [0, 1].
    """
    common = tf.minimum(first[..., 2:], second[..., 2:]) - tf.maximum(first[..., :2], second[..., :2])
    areas = [tf.reduce_prod(tf.nn.relu(b[..., 2:] - b[..., :2]), axis=-1) for b in (first, second)]
    shared = tf.reduce_prod(tf.nn.relu(common), axis=-1)
    return shared / tf.maximum(areas[0] + areas[1] - shared, 1e-9)


def _complete(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    return keras.utils.bounding_boxes.compute_ciou(first, second, "xyxy")
