"""tfmot's wrappers around a tf_keras network: put on before fine-tuning, taken off after it."""

import copy
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import cluster_weights

from ds_keras.export.compress import layers as own
from ds_keras.export.compress.libraries import libraries

_, tfmot = libraries()
ACTIVATIONS = {"gelu", "linear", "relu", "relu6", "sigmoid", "softmax", "swish", "tanh"}  # that tfmot quantises
KERNEL_LAYERS = (tf_keras.layers.Conv2D, tf_keras.layers.Dense)  # pruned and clustered: not the depthwise ones
RANGE_BATCHES = 8
SMALLEST_CHANNEL = 1e-3  # range of a kernel's channel, x the largest of them
SMALLEST_ACTIVATION = 1e-2


def prune(network: tf_keras.Model, sparsity: float, steps: int) -> tf_keras.Model:
    """Wraps kernels so that their sparsity rises during the first half of ``steps`` and then stays."""
    # A mask is renewed every ``frequency`` steps from the first: only a multiple of it can end the rise.
    frequency = max(1, steps // 100)
    end = frequency * max(1, steps // 2 // frequency)
    schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, sparsity, 0, end, frequency=frequency)
    return _wrapped(network, lambda layer: tfmot.sparsity.keras.prune_low_magnitude(layer, schedule))


def cluster(network: tf_keras.Model, clusters: int, preserve_sparsity: bool) -> tf_keras.Model:
    """Wraps kernels so that each holds at most ``clusters`` values, 0 among them where sparsity is kept."""

    def wrap(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if np.unique(layer.get_weights()[0]).size <= clusters:
            layer.trainable = False  # until ``finish``: training it unwrapped would move its zeros
            return layer
        return cluster_weights(layer, clusters, preserve_sparsity=preserve_sparsity)

    return _wrapped(network, wrap)


def finish(network: tf_keras.Model, method: str, before: Sequence[str]) -> tf_keras.Model:
    """What a method leaves: plain layers, or quantising wrappers without what kept the clusters during training."""
    name = network.name
    if method == "prune":
        network = tfmot.sparsity.keras.strip_pruning(network)
    elif method == "cluster":
        network = tfmot.clustering.keras.strip_clustering(network)
        for layer in network.layers:
            layer.trainable = True
    else:
        set_input_range(network)
        _widen_ranges(network)
        if "cluster" in before:
            network = tfmot.experimental.combine.strip_clustering_cqat(network)
    return _renamed(network, name)


def _widen_ranges(quantized: tf_keras.Model) -> None:
    """Gives what is (nearly) always 0 a range that integers can work with.

    A bias is int32 in units of input scale x channel scale. Where pruning has left a channel no weights, or a layer no
    input but 0, ranges near 0 would cut the bias off; a channel of zeros can have any range. LiteRT refuses a scale
    of 0.
    """
    for layer in quantized.layers:
        for low in (w for w in layer.weights if w.name.split(":")[0].endswith("_min")):
            high = _variable(layer, f"{low.name.split(':')[0].split('/')[-1][:-4]}_max")
            if "kernel" in low.name:
                largest = float(tf.reduce_max(high)) or 1.0
                least = tf.where(high > 0, SMALLEST_CHANNEL * largest, largest)
                low.assign(tf.minimum(low, -least))
                high.assign(tf.maximum(high, least))
            else:
                high.assign(tf.maximum(high, low + SMALLEST_ACTIVATION))


def check_kernels(network: tf_keras.Model, sparsity: float | None, clusters: int | None) -> None:
    """Raises RuntimeError for a kernel with fewer zeros or with more distinct values than was asked for."""
    for name, kernel in kernels(network).items():
        zeros = kernel.size - np.count_nonzero(kernel)
        if sparsity is not None and zeros < sparsity * kernel.size - 1:  # tfmot rounds
            raise RuntimeError(f"{name}: {zeros} of {kernel.size} weights are 0 instead of a share of {sparsity}")
        # Quantised, every output channel has a scale of its own, and tfmot may train clusters for each.
        parts = np.moveaxis(kernel, -1, 0) if is_quantized(network) and kernel.ndim == 4 else [kernel]
        found = max(np.unique(part).size for part in parts)
        if clusters is not None and found > clusters:
            raise RuntimeError(f"{name}: {found} distinct weights instead of {clusters}")


def kernels(network: tf_keras.Model) -> dict[str, np.ndarray]:
    """The kernels that are pruned and clustered, by the name of their layer: also those of a quantised network."""
    found = {}
    for layer in network.layers:
        inner = layer.layer if isinstance(layer, tfmot.quantization.keras.QuantizeWrapper) else layer
        if isinstance(inner, KERNEL_LAYERS):
            (found[inner.name],) = (w.numpy() for w in layer.weights if w.name.split(":")[0].endswith("kernel"))
    return found


def quantize(network: tf_keras.Model, before: Sequence[str], train: tf.data.Dataset) -> tf_keras.Model:
    """Wraps every layer so that training sees 8-bit kernels and activations.

    Args:
        network: plain network.
        before: which of "prune" and "cluster" it has been through: what must be kept.
        train: (images, labels) batches; a few of them give the first ranges of the activations.

    Returns:
        The wrapped network.
    """

    def annotate(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        config = None
        if isinstance(layer, tf_keras.layers.Rescaling):
            layer = own.Normalize(layer.scale, layer.offset, name=layer.name)
        if isinstance(layer, own.Normalize | tf_keras.layers.Multiply):
            config = own.OutputQuantizeConfig()
        return tfmot.quantization.keras.quantize_annotate_layer(layer, config)

    with tfmot.quantization.keras.quantize_scope(own.CUSTOM_OBJECTS), warnings.catch_warnings():
        # A channel of one weight has no clusters; ``check_kernels`` counts what all of them have in the end.
        warnings.filterwarnings("ignore", "No clustering performed on layer", UserWarning)
        network = _fused(network)
        annotated = tf_keras.models.clone_model(network, clone_function=annotate)
        quantized = tfmot.quantization.keras.quantize_apply(annotated, _scheme(before))
    set_input_range(quantized)
    _set_ranges(quantized, network, train.take(RANGE_BATCHES))
    return _renamed(quantized, network.name)


def _scheme(before: Sequence[str]) -> Any:
    """The 8-bit scheme that keeps what the methods before have reached, and has a scale for each depthwise channel."""
    combine = tfmot.experimental.combine
    if "cluster" in before:
        scheme = combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity="prune" in before)
    elif "prune" in before:
        scheme = combine.Default8BitPrunePreserveQuantizeScheme()
    else:
        scheme = tfmot.quantization.keras.default_8bit.Default8BitQuantizeScheme()
    registry = scheme.get_quantize_registry()
    default = registry.get_quantize_config

    def config_of(layer: tf_keras.layers.Layer) -> Any:
        config = default(layer)
        if hasattr(config, "weight_quantizer"):
            # Layers share one, and a layer without zeros would switch off what keeps those of all others.
            config.weight_quantizer = copy.copy(config.weight_quantizer)
        if isinstance(layer, tf_keras.layers.DepthwiseConv2D):
            config.weight_quantizer = own.DepthwiseQuantizer()
        return config

    registry.get_quantize_config = config_of
    scheme.get_quantize_registry = lambda: registry
    return scheme


def set_input_range(quantized: tf_keras.Model) -> None:
    """Makes the codes of the input the values of a pixel: 0 to 255, one apart.

    tfmot begins with [-6, 6] and widens it, so that the codes would not meet the pixels; augmentation may widen it too.
    """
    for layer in quantized.layers:
        if type(layer).__name__ == "QuantizeLayer":  # tfmot does not export the class
            _variable(layer, "_min").assign(0.0)
            _variable(layer, "_max").assign(255.0)


def is_quantized(network: tf_keras.Model) -> bool:
    """Whether the network has tfmot's quantisation wrappers."""
    return any(isinstance(layer, tfmot.quantization.keras.QuantizeWrapper) for layer in network.layers)


def check_quantizable(network: tf_keras.Model) -> None:
    """Raises ValueError for a network with layers that tfmot's 8-bit scheme does not take."""
    registry = tfmot.quantization.keras.default_8bit.Default8BitQuantizeScheme().get_quantize_registry()
    ours = (tf_keras.layers.InputLayer, tf_keras.layers.Rescaling, tf_keras.layers.Multiply)
    folded = tf_keras.layers.BatchNormalization  # with the convolution in front
    bad: dict[str, str] = {}
    for layer in network.layers:
        kind = layer.kind if isinstance(layer, own.Operation) else type(layer).__name__
        if kind == "Activation" and layer.activation.__name__ not in ACTIVATIONS:
            bad.setdefault(f"Activation {layer.activation.__name__}", layer.name)
        elif not isinstance(layer, (*ours, folded)) and not registry.supports(layer):
            bad.setdefault(kind, layer.name)
    if bad:
        names = ", ".join(f"{name!r} ({kind})" for kind, name in bad.items())
        raise ValueError(
            f"{network.name}: tfmot cannot quantize layer {names}; methods may be 'prune' and 'cluster' here"
        )


def _wrapped(network: tf_keras.Model, wrap: Callable[[tf_keras.layers.Layer], Any]) -> tf_keras.Model:
    clone = tf_keras.models.clone_model(
        network, clone_function=lambda layer: wrap(layer) if isinstance(layer, KERNEL_LAYERS) else layer
    )
    return _renamed(clone, network.name)


def _renamed(network: tf_keras.Model, name: str) -> tf_keras.Model:
    return tf_keras.Model(network.inputs, network.outputs[0], name=name)


def _fused(network: tf_keras.Model) -> tf_keras.Model:
    """A copy in which a ReLU right behind a kernel is the activation of that layer.

    tfmot leaves such a kernel out of quantisation, and out of what keeps zeros and clusters. And the copy's layers are
    its own: those that were wrapped and stripped belong to several graphs.
    """
    plain = tf_keras.models.clone_model(network)
    plain.set_weights(network.get_weights())
    fronts, relus = set(), set()
    for layer in plain.layers:
        if isinstance(layer, tf_keras.layers.ReLU) and layer.max_value is None:
            front = layer.inbound_nodes[0].inbound_layers
            if isinstance(front, KERNEL_LAYERS):
                fronts.add(front.name)
                relus.add(layer.name)

    def clone(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if layer.name in relus:
            return tf_keras.layers.Activation("linear", name=layer.name)
        change = {"activation": "relu"} if layer.name in fronts else {}
        return type(layer).from_config({**layer.get_config(), **change})

    fused = tf_keras.models.clone_model(plain, clone_function=clone)
    fused.set_weights(plain.get_weights())
    return fused


def _variable(layer: tf_keras.layers.Layer, ending: str) -> Any:
    (variable,) = (w for w in layer.weights if w.name.split(":")[0].endswith(ending))
    return variable


def _set_ranges(quantized: tf_keras.Model, network: tf_keras.Model, batches: Iterable) -> None:
    """Begins the activations' ranges at what the float network gives: mean over batches of minimum and maximum.

    tfmot begins them at [-6, 6] and moves them by a thousandth of the way a step: an epoch would not get there.
    """
    places = {}  # name of the layer in the float network -> the variables of its range
    for wrapper in quantized.layers:
        for place in ("output", "post_activation"):
            if any(f"{place}_min" in w.name for w in wrapper.weights):
                places[wrapper.layer.name] = [_variable(wrapper, f"{place}_{end}") for end in ("min", "max")]
    probe = tf_keras.Model(network.inputs, [network.get_layer(name).output for name in places])
    found = [[(y.min(), y.max()) for y in probe.predict_on_batch(images)] for images, _ in batches]
    for variables, (low, high) in zip(places.values(), np.mean(found, axis=0), strict=True):
        variables[0].assign(min(low, 0.0))
        variables[1].assign(max(high, 0.0))
