"""The detector: features of a supernet at several strides, joined from coarse to fine, and a head that they share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras import models
from ds_keras.core.network import SliceableNetwork
from ds_keras.core.visitor import Shapes, Visitor
from ds_keras.detection.boxes import IOU, MOST, SHOWN, Detections, check_choice, choose, stretched
from ds_keras.detection.head import Head
from ds_keras.detection.routing.in_keras import Photos
from ds_keras.layers.joined import JoinedMaps
from ds_keras.models.supernet import Supernet
from ds_keras.photos.preprocessing import listed
from ds_keras.policies.base import RoutingSpec
from ds_keras.zoo.classes import without_classifier

if TYPE_CHECKING:
    from ds_keras.detection.routing.cascade import DetectionCascade

REACH = 2.0  # strides from a location to each side of the box that an untrained head gives
LIMIT = 4.0  # of the logarithm of a distance
DIVISOR = 8  # of the head's widths
BATCH = 16  # photos that are run at a time


@keras.saving.register_keras_serializable("ds_keras")
class DSDetector(SliceableNetwork):
    """A detector whose backbone and head are sliced by the same level.

    Every location of the features at each stride gives one box, and a score for each class; there are no anchors. The
    features of all strides get the same width by 1x1 convolutions, coarse ones are added to finer ones, and one head of
    separable convolutions, with BatchNorm statistics for each stride and level, reads them all.

    Args:
        backbone: a supernet of convolutions at the size of the images, see ``zoo.load(name, image_size=...)``. The
            detector copies its weights, without the classifier. Or its class and config, as ``get_config`` gives them.
        num_classes: kinds of things; default the number of labels.
        labels: their names, or None.
        width: channels of the head at the largest level; smaller levels have fewer, as the backbone at the middle
            stride.
        strides: of the backbone's features, finer ones first; each a multiple of the one before.
        name: of the model.
        **kwargs: of ``keras.Model``.

    Call:
        (batch, height, width, channels) images in [0, 255], of the backbone's size; ``level``: int, scalar integer
        tensor or ``SliceLevel``, default the largest. Returns (batch, locations, 4 + num_classes) float32, which
        ``decode`` makes boxes and logits of. ``detect`` takes photos of any size and gives what is on them.

    Raises:
        ValueError: a backbone without features at these strides, or a size that the largest stride does not divide.

    Source: a location for each box, FCOS, arXiv 1904.01355; top-down features, arXiv 1612.03144; separable head,
    arXiv 1801.04381. Levels of a detector are ours.

    Example:
        >>> model = DSDetector(ds_keras.zoo.load("ds_mobilenet", image_size=(192, 256)), labels=["cat", "dog"])
        >>> model.detect("photo.jpg", level=0)[0].boxes
    """

    least_classes = 1
    trainer = "DetectorTrainer"
    task = "detection"
    result_names = ("boxes", "scores")
    decoded, one_by_one = ("boxes",), True
    early: list[int]  # strides that the head reads from before the border of start and body
    maps: JoinedMaps | None  # joins them with the features there

    def __init__(
        self,
        backbone: Supernet | dict[str, Any],
        num_classes: int | None = None,
        labels: Sequence[str] | None = None,
        width: int = 96,
        strides: Sequence[int] = (8, 16, 32),
        name: str | None = None,
        **kwargs: Any,
    ):
        if isinstance(backbone, dict):
            backbone = getattr(models, backbone["class"]).from_config(backbone["config"])
        if not isinstance(backbone, Supernet):
            raise ValueError(f"backbone must be a supernet, received {type(backbone).__name__}")
        if num_classes is None and labels is None:
            raise ValueError("num_classes or labels must be given, received neither")
        shared = {"mean": backbone.mean, "std": backbone.std, "dtype": backbone.dtype_policy, "name": name}
        levels, count = backbone.levels, num_classes if labels is None or num_classes is not None else len(labels)
        named = None if labels is None else list(labels)
        super().__init__(levels, levels[-1], count, backbone.image_shape, labels=named, **{**shared, **kwargs})  # type: ignore[arg-type]
        self.backbone = without_classifier(backbone)
        self.strides, self.width = tuple(int(stride) for stride in strides), int(width)
        if self.width < DIVISOR:
            raise ValueError(f"width must be at least {DIVISOR}, received {width!r}")
        self.widths = self._widths()
        self.head_block = Head(self.strides, self.widths, self.num_classes, name="detector", dtype=self.dtype_policy)
        self.centres, self.reaches = self._grid()
        early, maps = self._border()
        self.__dict__.update(early=early, maps=maps, _photos=Photos(self))  # past Keras: they have no weights

    def _widths(self) -> list[int]:
        """Channels of the head at each level; checks the strides."""
        found = []
        for level in self.levels:
            visitor = Shapes(level.index)
            self.backbone.trunk(visitor, self.backbone.start(visitor, self.backbone.input_shape)[0])
            maps = {stride: shape for stride, shape in visitor.endpoints.items() if len(shape) == 4}
            steps = zip(self.strides, self.strides[1:], strict=False)
            if len(self.strides) < 2 or not set(self.strides) <= set(maps) or any(b % a or a == b for a, b in steps):
                raise ValueError(
                    f"strides must be at least two of {sorted(maps)}, which the backbone {self.backbone.name} has, "
                    f"each a multiple of the one before; received {self.strides}"
                )
            found.append(maps[self.strides[len(self.strides) // 2]][-1])
        if any(side % self.strides[-1] for side in self.image_shape[:2]):
            raise ValueError(
                f"the backbone's images must have sides that {self.strides[-1]} divides, received {self.image_shape}: "
                "give another image_size to zoo.load"
            )
        return [max(DIVISOR, DIVISOR * round(self.width * n / found[-1] / DIVISOR)) for n in found[:-1]] + [self.width]

    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Centre in pixels (locations, 2), x first, and stride (locations, 1) of every location."""
        height, width, _ = self.image_shape
        centres, reaches = [], []
        for stride in self.strides:
            x, y = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
            centres.append(stride * (np.stack([x.ravel(), y.ravel()], axis=-1) + 0.5))
            reaches.append(np.full((x.size, 1), stride))
        return np.concatenate(centres).astype("float32"), np.concatenate(reaches).astype("float32")

    def _border(self) -> tuple[list[int], JoinedMaps | None]:
        """The strides that the head reads from before the border of start and body, and what joins them with it."""
        visitor = Shapes(self.levels[-1].index)
        features, early = self.start(visitor, self.input_shape)[0]
        behind = Shapes(visitor.level)
        self.backbone.trunk(behind, features)
        needed = [stride for stride in self.strides if stride not in behind.endpoints]
        shapes = [shape[1:] for shape in (features, *(early[stride] for stride in needed))]
        return needed, JoinedMaps(shapes, "border", self.dtype_policy) if needed else None

    def build(self, input_shape: Any = None) -> None:
        """Creates every weight."""
        if self.built:
            return
        super().build(input_shape)
        self.backbone.built = True  # all that is used of it
        self.head_block.start_rare()

    def start(self, visitor: Visitor, x: Any) -> tuple[Any, Any]:
        """The backbone's shared start: its features, with those of each stride so far; and what its gate reads."""
        features, gate_features = self.backbone.start(visitor, x)
        return (features, dict(visitor.endpoints)), gate_features

    def joined(self, visitor: Visitor, features: Any) -> Any:
        """See the base class: the features, and maps of finer strides that the head reads."""
        features, early = features
        if self.maps is None:
            return features
        return self.maps.join(visitor, [features, *(early[stride] for stride in self.early)])

    def parted(self, visitor: Visitor, joined: Any) -> Any:
        """See the base class."""
        features, *early = [joined] if self.maps is None else self.maps.part(visitor, joined)
        return features, dict(zip(self.early, early, strict=True))

    def results(self, y: Any) -> dict[str, Any]:
        """What a file of the network gives: boxes as ``decode`` gives them, and scores.

        Args:
            y: (batch, locations, 4 + num_classes), a tensor or a symbolic one.

        Returns:
            {"boxes": (batch, locations, 4), "scores": (batch, locations, num_classes) in [0, 1]}.
        """
        boxes, logits = self.decode(y)
        return {"boxes": boxes, "scores": keras.ops.sigmoid(logits)}

    def gate(self, visitor: Visitor, features: Any) -> Any:
        """The backbone's slimming head."""
        return self.backbone.gate(visitor, features)

    def gate_layer(self) -> keras.layers.Layer:
        """See the base class."""
        return self.backbone.gate_layer()

    def body(self, visitor: Visitor, features: Any) -> Any:
        """The backbone's trunk, and the head: (batch, locations, 4 + num_classes)."""
        features, early = features
        self.backbone.trunk(visitor, features)
        maps = {**early, **visitor.endpoints}
        return visitor(self.head_block, [maps[stride] for stride in self.strides])

    def call(self, x: Any, level: Any = None, training: bool = False) -> tf.Tensor:
        """See the class."""
        self.check_input(x)
        return super().call(x, self.levels[-1] if level is None else level, training)

    def decode(self, raw: Any) -> tuple[Any, Any]:
        """Boxes and logits of what the network gives; of tensors, and of Keras' symbolic ones.

        Args:
            raw: (batch, locations, 4 + num_classes).

        Returns:
            Boxes (batch, locations, 4): x_min, y_min, x_max, y_max as fractions of the image's width and height, which
            may reach beyond the image; logits (batch, locations, num_classes), whose sigmoids are the scores.
        """
        ops, side = keras.ops, np.array(self.image_shape[1::-1], "float32")
        reach = ops.exp(ops.clip(raw[..., :4], -LIMIT, LIMIT)) * (REACH * self.reaches)
        low, high = ops.subtract(self.centres, reach[..., :2]) / side, ops.add(self.centres, reach[..., 2:]) / side
        return ops.concatenate([low, high], axis=-1), raw[..., 4:]

    @property
    def spec(self) -> RoutingSpec:
        """Multiply-adds of the parts, as a cascade knows them; its levels: the smallest and the largest."""
        bodies = tuple(float(cost.body) for cost in self.costs)
        return RoutingSpec(float(self.costs[0].start), 0.0, bodies, (0, len(bodies) - 1))

    def detect(
        self,
        images: Any,
        level: Any = None,
        threshold: float = SHOWN,
        iou: float = IOU,
        most: int = MOST,
        cascade: "DetectionCascade | None" = None,
    ) -> list[Detections]:
        """Finds things on photos of any size.

        After a few calls a level is traced as a graph, which takes some seconds once; then it is fast.

        Args:
            images: a photo, or a list of them: path, encoded bytes, PIL image or array, as ``classify`` of other
                networks takes them; or an array of several. Each is stretched to the network's size.
            level: int or ``SliceLevel``; default the largest; or
            cascade: picks the levels of each photo, see ``detection.routing``.
            threshold: smallest score of what is given.
            iou: boxes of a class count as one thing where their intersection over union is larger.
            most: boxes for each photo.

        Returns:
            For each photo its ``Detections``.

        Raises:
            ValueError: a photo that cannot be read, a cascade of another detector, or another bad argument.
            FileNotFoundError: no such file.

        Example:
            >>> found = model.detect("photo.jpg")[0]
            >>> found.names, found.scores, found.boxes
        """
        check_choice(threshold, iou, most)
        if cascade is not None:
            if level is not None:
                raise ValueError(f"give level or cascade, received level={level!r} and a cascade")
            cascade.check_fits(self)
        level = self.static_level(self.levels[-1] if level is None else level)
        photos, found = listed(images), []
        for i in range(0, len(photos), BATCH):
            x = np.stack([stretched(photo, self.image_shape) for photo in photos[i : i + BATCH]])
            for boxes, scores in self._photos.run(x, level) if cascade is None else self._photos.in_turn(x, cascade):
                found.append(choose(boxes, scores, threshold, iou, most, self.labels))
        return found

    def classify(self, images: Any, top: int = 5, **how: Any) -> Any:
        """Refused: see ``detect``.

        Raises:
            ValueError: always.
        """
        raise ValueError("a DSDetector finds boxes: call model.detect(images)")

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: ``ds_keras.detection.DetectorTrainer`` trains it.

        Raises:
            ValueError: always.
        """
        raise ValueError("a DSDetector is trained by ds_keras.detection.DetectorTrainer(model), not by model.fit")

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """As ``keras.Model.load_weights``; builds the network first."""
        self.build()
        keras.Model.load_weights(self, filepath, skip_mismatch=skip_mismatch, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, as plain data."""
        config = {name: value for name, value in self.backbone.get_config().items() if name != "dtype"}
        return {
            "backbone": {"class": type(self.backbone).__name__, "config": {**config, "budget_table": {}}},
            "num_classes": self.num_classes,
            "labels": None if self.labels is None else list(self.labels),
            "width": self.width,
            "strides": list(self.strides),
            "name": self.name,
            "dtype": self.dtype_policy.name,
        }
