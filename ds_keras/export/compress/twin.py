"""A level as a tf_keras network, layer by layer: what tfmot works on."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import tree

from ds_keras.export.compress.libraries import libraries
from ds_keras.export.subnet import subnet

if TYPE_CHECKING:
    import tf_keras

    from ds_keras.models.supernet import Supernet

TOLERANCE = 1e-5  # x max(1, largest |logit|)
# What of a layer's configuration has to be copied. All other arguments of these layers are defaults in our networks.
ARGUMENTS = {
    "Activation": ("activation",),
    "Add": (),
    "BatchNormalization": ("epsilon",),
    "Concatenate": ("axis",),
    "Conv2D": ("filters", "kernel_size", "strides", "padding", "use_bias", "data_format"),
    "Dense": ("units", "use_bias"),
    "DepthwiseConv2D": ("kernel_size", "strides", "padding", "use_bias", "data_format"),
    "Embedding": ("input_dim", "output_dim"),
    "Flatten": ("data_format",),
    "GlobalAveragePooling1D": ("keepdims", "data_format"),
    "GlobalAveragePooling2D": ("keepdims", "data_format"),
    "LayerNormalization": ("axis", "epsilon"),
    "MaxPooling2D": ("pool_size", "strides", "padding", "data_format"),
    "Multiply": (),
    "ReLU": ("max_value",),
    "Rescaling": ("scale", "offset"),
    "ZeroPadding1D": ("padding",),
    "ZeroPadding2D": ("padding", "data_format"),
}
ACTIVATIONS = {"silu": "swish"}  # Keras 3's name: tf_keras' (tfmot knows that one only)


def legacy(model: "Supernet", level: Any) -> "tf_keras.Model":
    """Copies a level into an equal network of plain ``tf_keras.layers``, which tfmot can wrap.

    Args:
        model: supernet.
        level: int, or a ``SliceLevel`` of the model.

    Returns:
        A float32 functional ``tf_keras.Model`` from (batch, height, width, channels) images in [0, 255] to (batch,
        classes) logits, with the layer names of ``export.subnet``. It shares nothing with the supernet.

    Raises:
        ValueError: the model has no such level.
        RuntimeError: the copy does not give the level's logits.
        ImportError: tf_keras or tfmot is missing.

    Source: tfmot's guide, https://www.tensorflow.org/model_optimization/guide (it takes tf_keras networks only).

    Example:
        >>> network = legacy(model, 0)
        >>> network.summary()
    """
    tf_keras, _ = libraries()
    plain = subnet(model, level)
    images = tf_keras.Input(model.image_shape, name="images", dtype="float32")
    copies: dict[int, tuple[Any, Any]] = {}  # Keras' tensor by its id, so that it lives on: (it, tf_keras' tensor)

    def twin(value: Any) -> Any:
        return copies[id(value)][1] if isinstance(value, keras.KerasTensor) else value

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        y = operation(*args, **kwargs)
        copies[id(y)] = y, _copy(operation, args, kwargs, twin)
        return y

    start = keras.Input(model.image_shape, name="images", dtype="float32")
    copies[id(start)] = start, images
    walked = keras.models.clone_model(
        plain, input_tensors=start, clone_function=lambda layer: layer, call_function=call
    )
    network = tf_keras.Model(images, twin(walked.output), name=plain.name)
    sample = np.random.default_rng(0).uniform(0, 255, (2, *model.image_shape)).astype("float32")
    expected, found = np.asarray(plain(sample, training=False)), np.asarray(network(sample, training=False))
    worst, limit = np.abs(found - expected).max(), TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not worst <= limit:
        raise RuntimeError(f"{plain.name}: tf_keras differs from Keras by {worst:.3g}, allowed {limit:.3g}")
    return network


def _copy(operation: Any, args: tuple, kwargs: dict[str, Any], twin: Callable[[Any], Any]) -> Any:
    """What the tf_keras twin of a layer, or of an operation of ``keras.ops``, gives for the twins of its tensors."""
    tf_keras, _ = libraries()
    if not isinstance(operation, keras.layers.Layer):
        return _run(operation, args, kwargs, twin)
    kind, config = type(operation).__name__, operation.get_config()
    if kind not in ARGUMENTS:
        raise ValueError(f"layer {operation.name!r} ({kind}) has no twin in tf_keras; known are {sorted(ARGUMENTS)}")
    arguments = {name: config[name] for name in ARGUMENTS[kind]}
    if kind == "Activation":
        arguments["activation"] = ACTIVATIONS.get(arguments["activation"], arguments["activation"])
    layer = getattr(tf_keras.layers, kind)(**arguments, name=operation.name)
    y = layer(*tree.map_structure(twin, args))
    layer.set_weights(operation.get_weights())
    return y


def _run(operation: Any, args: tuple, kwargs: dict[str, Any], twin: Callable[[Any], Any]) -> Any:
    """The operation itself on tf_keras' tensors, wherever they stand among its arguments."""
    from ds_keras.export.compress.layers import Operation

    leaves = tree.flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, keras.KerasTensor)]

    def run(tensors: list) -> Any:
        filled = dict(zip(places, tensors, strict=True))
        values = [filled.get(i, leaf) for i, leaf in enumerate(leaves)]
        own_args, own_kwargs = tree.pack_sequence_as((args, kwargs), values)
        return operation(*own_args, **own_kwargs)

    return Operation(run, type(operation).__name__, name=operation.name)([twin(leaves[place]) for place in places])
