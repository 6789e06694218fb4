"""A network with slice levels: what it computes at each. How images are routed to levels is not known here."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core import cost
from ds_keras.core.image_model import ImageModel
from ds_keras.core.levels import Level, LevelTensor, SliceLevel, check_level
from ds_keras.core.visitor import Build, Compute, OutputShapes, Seen, Shapes, SliceableBlock, Visitor

FIRST_THRESHOLD = 0.5  # of every step of a cascade, until it is measured


class SliceableNetwork(ImageModel):
    """Base class: a shared start, a gate, and a body that runs at a slice level.

    A subclass writes ``start``, ``gate`` and ``body`` once, for any visitor, and makes the layers ``pool``, ``dropout``
    and ``classifier``.

    Args:
        levels: the deployable levels, smallest first.
        teacher_level: the level of Stage I's largest pass; ``levels[-1]``, or a wider one.
        num_classes: size of the classifier.
        input_shape: (height, width, channels) of the images. Training takes other heights and widths too.
        **kwargs: ``mean``, ``std``, ``labels`` and ``name``, see ``ImageModel``.
    """

    task = "classification"  # what its files are for
    result_names: tuple[str, ...] = ("logits",)  # of ``results``, in this order
    decoded: tuple[str, ...] = ()  # ``results`` that are exponentials of the last codes: of float numbers in int8 files
    one_by_one = False  # whether its files take a single image: else they may be resized to larger batches

    built: bool
    pool: keras.layers.Layer
    dropout: keras.layers.Layer
    classifier: keras.layers.Layer

    def __init__(
        self,
        levels: tuple[SliceLevel, ...],
        teacher_level: SliceLevel,
        num_classes: int,
        input_shape: Sequence[int],
        **kwargs: Any,
    ):
        super().__init__(num_classes, input_shape, **kwargs)
        self._levels = tuple(levels)
        self._teacher_level = teacher_level

    def start(self, visitor: Visitor, x: Any) -> tuple[Any, Any]:
        """Everything before the gate: returns the features and what the gate reads."""
        raise TypeError(f"{type(self).__name__} does not define start()")

    def gate(self, visitor: Visitor, features: Any) -> Any:
        """The gate's logits, without the budget shift."""
        raise TypeError(f"{type(self).__name__} does not define gate()")

    def trunk(self, visitor: Visitor, features: Any) -> Any:
        """From the shared start's features to the last ones, without the classifier; ``visitor.endpoints`` has others.

        What a detector or a segmenter is built on: the same pass for every visitor, so that tensors, shapes, costs and
        plain Keras networks of the features at each stride come from it.
        """
        raise TypeError(f"{type(self).__name__} does not define trunk()")

    def body(self, visitor: Visitor, features: Any) -> Any:
        """From the shared start's features to the class logits."""
        raise TypeError(f"{type(self).__name__} does not define body()")

    def results(self, y: Any) -> dict[str, Any]:
        """What a file of the network gives, by name: of what ``body`` gives, as tensors or symbolic ones."""
        return {"logits": y}

    def joined(self, visitor: Visitor, features: Any) -> Any:
        """The shared start's features as the one tensor that a file passes on."""
        return features

    def parted(self, visitor: Visitor, joined: Any) -> Any:
        """What ``body`` takes, of what ``joined`` gave."""
        return joined

    def policy_record(self) -> dict[str, Any]:
        """What a bundle says of policies: the default one, the cascade, the settings, and the budget table."""
        last = len(self.levels) - 1
        return {
            "default": last,
            "cascade": [0, last],
            "knobs": {"gate": [0.0], "cascade": [FIRST_THRESHOLD]},
            "budget_table": {},
        }

    def gate_layer(self) -> keras.layers.Layer:
        """The slimming branch: the layer that Stage II trains."""
        raise TypeError(f"{type(self).__name__} does not define gate_layer()")

    def head(self, visitor: Visitor, x: Any) -> Any:
        """From the last features to the class logits."""
        return visitor(self.classifier, visitor(self.dropout, visitor(self.pool, x)))

    @property
    def levels(self) -> tuple[SliceLevel, ...]:
        """The deployable slice levels, smallest first."""
        return self._levels

    @property
    def teacher_level(self) -> SliceLevel:
        """The level of Stage I's largest pass: ``levels[-1]``, or a wider one."""
        return self._teacher_level

    def level_index(self, level: Any) -> Level:
        """Checks a level given as an int, a scalar tensor or a ``SliceLevel`` of this model.

        Args:
            level: see above.

        Returns:
            int, or a ``LevelTensor``.

        Raises:
            ValueError: no such level.
        """
        if isinstance(level, SliceLevel):
            if level not in (*self._levels, self._teacher_level):
                raise ValueError(f"level must be one of the model's levels, received {level}")
            return level.index
        return check_level(level, len(self._levels))

    def static_level(self, level: Any) -> int:
        """Checks a level that must be known before anything runs: an int, or a ``SliceLevel`` of this model.

        Args:
            level: see above.

        Returns:
            int.

        Raises:
            ValueError: no such level, or a tensor.
        """
        index = self.level_index(level)
        if not isinstance(index, int):
            raise ValueError(f"level must be an integer here, received the tensor {level!r}")
        return index

    def build(self, input_shape: Any = None) -> None:
        """Creates every weight. Called by the first use; ``input_shape`` is the model's own."""
        if self.built:
            return
        self._visit_shapes(Build())
        for layer in self._flatten_layers(include_self=False):
            if isinstance(layer, SliceableBlock):
                layer.built = True  # the one with the gate, which is visited in parts
        self.built = True

    def _visit_shapes(self, visitor: Shapes) -> None:
        """Shows a visitor of shapes every layer: start, gate and body."""
        features, gate_features = self.start(visitor, self.input_shape)
        self.gate(visitor, gate_features)
        self.body(visitor, features)

    def output_shapes(self) -> dict[keras.layers.Layer, Any]:
        """See the base class; those of the largest level."""
        visitor = OutputShapes()
        self._visit_shapes(visitor)
        layers = self._flatten_layers(include_self=False)
        return {layer: shape for layer in layers if (shape := visitor.of(layer)) is not None}

    def call(self, x: Any, level: Any, training: bool = False) -> tf.Tensor:
        """Logits of one level.

        Args:
            x: (batch, height, width, channels) images, uint8 or float in [0, 255]; with ``training`` of any size.
            level: int, scalar integer tensor, or ``SliceLevel``.
            training: batch statistics and dropout.

        Returns:
            (batch, num_classes) float32.

        Raises:
            ValueError: bad shape or level.
        """
        x, level = self.check_images(x) if training else self.check_input(x), self.level_index(level)
        if isinstance(level, LevelTensor) and not training:
            # A branch for each level has static shapes: no size is computed and nothing copied that is used whole.
            branches = [lambda k=k: tf.cast(self.logits(Compute(k), x), tf.float32) for k in range(len(self._levels))]
            return tf.switch_case(level.tensor, branches)
        dropout = None
        if training and level == self._teacher_level.index:
            dropout = tf.random.uniform([2], maxval=2**31 - 1, dtype=tf.int32)
        return tf.cast(self.logits(Compute(level, bool(training), dropout), x), tf.float32)

    def logits(self, visitor: Visitor, x: Any) -> Any:
        """The whole network at the visitor's level: shared start, then body."""
        features, _ = self.start(visitor, x)
        return self.body(visitor, features)

    def endpoints(self, visitor: Visitor, x: Any) -> dict[int, Any]:
        """The last features of every stride, in one pass of a visitor.

        Args:
            visitor: at a level; what it takes, such as tensors or shapes, it gives.
            x: images.

        Returns:
            {stride: (batch, height, width, channels)}.
        """
        self.trunk(visitor, self.start(visitor, x)[0])
        return visitor.endpoints

    def features(self, x: Any, level: Any, training: bool = False) -> dict[int, tf.Tensor]:
        """The last features of every stride at one level, for detectors and segmenters.

        ``ds_keras.models.Backbone`` gives them as a Keras model, by the names "P2", "P3" and so on.

        Args:
            x: (batch, height, width, channels) images in [0, 255]; or Keras' symbolic tensor, for a functional model,
                which Keras saves and loads with the network in it.
            level: as in ``model(x, level=...)``; an int for a symbolic tensor.
            training: BatchNorm uses the batch's statistics and updates those of the level; of a symbolic tensor the
                call of the functional model says it.

        Returns:
            {stride: (batch, height / stride, width / stride, channels)}; ``feature_shapes`` gives the sizes.

        Raises:
            ValueError: bad shape or level.

        Example:
            >>> model.features(images, level=0)[16].shape
        """
        self.build()
        if isinstance(x, keras.KerasTensor):
            return Features(self, self.static_level(level))(x)
        return self.endpoints(Compute(self.level_index(level), training), self.check_images(x))

    def feature_shapes(self, level: Any) -> dict[int, tuple[int, int, int]]:
        """Sizes of what ``features`` gives for images of the model's ``input_shape``; nothing is computed.

        Args:
            level: int or ``SliceLevel``.

        Returns:
            {stride: (height, width, channels)}, finer strides first.

        Raises:
            ValueError: no such level.

        Example:
            >>> {stride: shape[-1] for stride, shape in model.feature_shapes(level=0).items()}  # channels
        """
        found = self.endpoints(Shapes(self.static_level(level)), self.input_shape)
        return {stride: found[stride][1:] for stride in sorted(found)}

    @functools.cached_property
    def costs(self) -> tuple[cost.Parts, ...]:
        """MAdds of the shared start, the gate and the body, for every level."""
        return tuple(cost.parts(self, level) for level in self.levels)

    @property
    def exporters(self) -> str:
        """See the base class."""
        return (
            "for files call ds_keras.export.to_tflite(model, directory), to_onnx or to_bundle, or export one level: "
            "ds_keras.export.subnet(model, level).export(path, format=...)"
        )

    @property
    def gate_variables(self) -> list[keras.Variable]:
        """The variables that Stage II trains."""
        return self.gate_layer().trainable_variables

    @property
    def supernet_variables(self) -> list[keras.Variable]:
        """The variables that Stage I trains: all but the slimming branch."""
        gate = {id(variable) for variable in self.gate_variables}
        return [variable for variable in self.trainable_variables if id(variable) not in gate]


def shared_config(network: SliceableNetwork) -> dict[str, Any]:
    """The serialized network; several layers of a model that have it get one network again when Keras loads them."""
    # Keras marks what it meets twice itself, but on a copy where it lies inside the config of a layer.
    return {**keras.saving.serialize_keras_object(network), "shared_object_id": id(network)}


@keras.saving.register_keras_serializable("ds_keras")
class Features(keras.layers.Layer):
    """``features`` of a network at one level, as a layer of a functional model.

    Its variables are those of the layers that the features come from; the gate, the classifier, and blocks that the
    level lacks are saved with it, but not trained.

    Args:
        network: with levels.
        level: int.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: as ``features``. Returns {stride: features}.

    Example:
        >>> x = keras.Input((224, 224, 3))
        >>> keras.Model(x, Features(network, level=0)(x)[16])
    """

    def __init__(self, network: SliceableNetwork, level: int, **kwargs: Any):
        super().__init__(**{"dtype": network.dtype_policy, "autocast": False, **kwargs})
        network.build()
        self.network, self.level = network, network.static_level(level)
        self.built = True

    def call(self, x: tf.Tensor, training: bool = False) -> dict[int, tf.Tensor]:
        """Runs the network."""
        return self.network.features(x, self.level, bool(training))

    @functools.cached_property
    def _used(self) -> set[int]:
        visitor = Seen(self.level)
        self.network.endpoints(visitor, self.network.input_shape)
        return {id(variable) for layer in visitor.layers for variable in layer.variables}

    @property
    def variables(self) -> list[keras.Variable]:
        """Those of the layers that the features come from."""
        return [variable for variable in self.network.variables if id(variable) in self._used]

    @property
    def weights(self) -> list[keras.Variable]:
        """As ``variables``."""
        return self.variables

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, the network's own included."""
        config = {name: value for name, value in super().get_config().items() if name != "dtype"}
        return {**config, "network": shared_config(self.network), "level": self.level}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Features":
        """A layer of its config."""
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"])})
