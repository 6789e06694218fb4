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
FOCUS, OTHERS = 2.0, 0.75  # of the focal loss of scores that have to be low: its exponent, and its weight


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


def loss_of(
    model: "DSDetector", raw: Any, targets: Targets, teacher: Found | None, share: Any, weights: Any = None
) -> Found:
    """The loss of a level: cross-entropy of the scores, complete IoU loss of the boxes.

    The score that a location has to give is the overlap of its box with the true one, so that sure boxes are good ones.
    A location on a thing counts in full, however small that overlap still is; of the many others the wrong ones count.
    A teacher's scores and boxes are mixed in.

    Args:
        model: the detector.
        raw: (batch, locations, 4 + classes), what the level gave.
        targets: see ``assign``.
        teacher: what the largest level gave for the first images of the batch, or None.
        share: of the teacher in the targets, in [0, 1].
        weights: (classes,) of things of each class, without which a rare class hardly counts; default 1.

    Returns:
        ``Found``.

    Source: varifocal loss, arXiv 2008.13367, equation 2, without its weight of the overlap; complete IoU,
    arXiv 1911.08287.
    """
    boxes, logits = model.decode(tf.cast(raw, tf.float32))
    scores, side = tf.sigmoid(logits), tf.constant([*model.image_shape[1::-1]] * 2, tf.float32)
    mask = tf.cast(targets.classes >= 0, tf.float32)
    weights = tf.ones(model.num_classes) if weights is None else tf.constant(weights, tf.float32)
    weight = mask * tf.gather(weights, tf.maximum(targets.classes, 0))
    count = tf.maximum(tf.reduce_sum(weight), 1.0)
    overlap = tf.stop_gradient(paired_overlap(boxes, targets.boxes)) * mask
    hot = tf.one_hot(targets.classes, model.num_classes)
    truth = hot * overlap[..., None]
    missed = 1 - _complete(boxes * side, targets.boxes * side)
    if teacher is not None:
        its_boxes, its_scores, known = _rows(teacher, boxes)
        share = share * known
        truth = (1 - share[..., None]) * truth + share[..., None] * its_scores
        missed = (1 - share) * missed + share * (1 - _complete(boxes * side, its_boxes * side))
    focal = tf.where(hot > 0, weight[..., None], OTHERS * tf.abs(truth - scores) ** FOCUS)
    of_scores = focal * tf.nn.sigmoid_cross_entropy_with_logits(truth, logits)
    of_scores = tf.reduce_sum(tf.where((targets.classes == IGNORED)[..., None], 0.0, of_scores)) / count
    of_boxes = tf.reduce_sum(weight * tf.where(mask > 0, missed, 0.0)) / count
    mean = tf.reduce_sum(overlap) / tf.maximum(tf.reduce_sum(mask), 1.0)
    return Found(tf.stop_gradient(boxes), tf.stop_gradient(scores), of_scores + BOX_WEIGHT * of_boxes, mean)


def _rows(teacher: Found, boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A teacher's boxes and scores with rows of zeros for the images that it has not seen, and which it has seen."""
    missing = tf.shape(boxes)[0] - tf.shape(teacher.boxes)[0]
    known = tf.ones_like(teacher.boxes[..., 0])
    boxes, scores = (tf.pad(value, [[0, missing], [0, 0], [0, 0]]) for value in (teacher.boxes, teacher.scores))
    return boxes, scores, tf.pad(known, [[0, missing], [0, 0]])


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
