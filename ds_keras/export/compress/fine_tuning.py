"""Fine-tunes a level through tfmot's methods, one after the other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ds_keras.export.compress.libraries import libraries
from ds_keras.export.compress.twin import legacy

if TYPE_CHECKING:
    import tf_keras

    from ds_keras.models.supernet import Supernet

METHODS = ("prune", "cluster", "quantize")  # in the order in which they run


def compress(
    model: "Supernet",
    level: Any,
    train: tf.data.Dataset,
    methods: list[str] | tuple[str, ...] = ("quantize",),
    epochs: int = 1,
    steps_per_epoch: int | None = None,
    learning_rate: float = 1e-4,
    sparsity: float = 0.5,
    clusters: int = 16,
    validation_data: Any = None,
    callbacks: Sequence[Any] = (),
    verbose: Any = "auto",
) -> "tf_keras.Model":
    """Fine-tunes a stand-alone copy of a level so that it can be stored small, or computed in 8 bits.

    Each method wraps the network, trains it for ``epochs`` through ``fit`` (cross-entropy, Adam, the learning rate
    falling to 0 as a cosine), and is taken off again; what an earlier one has reached is kept by the later ones. The
    order is always prune, cluster, quantize. tfmot's callback for pruning is added here. The result has weights of its
    own: it is a file (``compress.to_tflite``), not a level of a bundle.

    Args:
        model: supernet; stays as it is.
        level: int, or a ``SliceLevel`` of the model.
        train: batches of images, (batch, height, width, channels) in [0, 255], and integer labels, (batch,).
        methods: one or more of "prune" (small weights become 0), "cluster" (few distinct weights) and "quantize"
            (quantisation-aware training: 8-bit weights and activations). Depthwise kernels, BatchNorm and biases are
            neither pruned nor clustered.
        epochs: of each method.
        steps_per_epoch: of each method; needed where ``train`` does not end.
        learning_rate: at the start of each method.
        sparsity: share of zeros in each pruned kernel, in (0, 1).
        clusters: distinct weights in each kernel, at least 2; with pruning at least 3, one of them 0.
        validation_data: as ``fit`` takes it.
        callbacks: of ``tf_keras``, for every method's ``fit``.
        verbose: as ``fit`` takes it.

    Returns:
        A compiled functional ``tf_keras.Model`` from images in [0, 255] to (batch, classes) logits: plain layers, or
        with "quantize" tfmot's quantising wrappers, which hold the ranges that ``to_tflite`` needs.

    Raises:
        ValueError: bad argument, or a layer that tfmot cannot quantise (LayerNorm, attention, embeddings).
        RuntimeError: the result has not the sparsity or the clusters that were asked for.
        ImportError: tf_keras or tfmot is missing.

    Source: tfmot's guides to pruning, clustering, quantisation-aware training and their combinations,
    https://www.tensorflow.org/model_optimization/guide/combine/collaborative_optimization.

    Example:
        >>> network = compress(model, 0, batches, ["prune", "quantize"], epochs=2, steps_per_epoch=400, sparsity=0.6)
        >>> to_tflite(network, "level_0_int8.tflite")
    """
    chosen = _check(methods, epochs, learning_rate, sparsity, clusters)
    steps = epochs * _steps(train, steps_per_epoch)
    tf_keras, tfmot = libraries()
    from ds_keras.export.compress import methods as wrappers

    network = legacy(model, level)
    if "quantize" in chosen:
        wrappers.check_quantizable(network)
    for i, method in enumerate(chosen):
        extra = []
        if method == "prune":
            network = wrappers.prune(network, sparsity, steps)
            extra = [tfmot.sparsity.keras.UpdatePruningStep()]
        elif method == "cluster":
            network = wrappers.cluster(network, clusters, preserve_sparsity="prune" in chosen)
        else:
            network = wrappers.quantize(network, chosen[:i], train)
        _set_momentum(network, steps)
        _compile(network, tf_keras.optimizers.schedules.CosineDecay(learning_rate, steps))
        options = {"validation_data": validation_data, "verbose": verbose, "callbacks": [*extra, *callbacks]}
        network.fit(train, epochs=epochs, steps_per_epoch=steps_per_epoch, **options)
        network = wrappers.finish(network, method, chosen[:i])
    wrappers.check_kernels(network, sparsity if "prune" in chosen else None, clusters if "cluster" in chosen else None)
    _compile(network, learning_rate)
    return network


def _set_momentum(network: "tf_keras.Model", steps: int) -> None:
    """BatchNorm's moving averages end up in the file: over 100 batches, or the last tenth of a shorter run."""
    tf_keras, _ = libraries()
    for part in network.submodules:
        if isinstance(part, tf_keras.layers.BatchNormalization):
            part.momentum = float(np.clip(1 - 10 / steps, 0.5, 0.99))


def _compile(network: "tf_keras.Model", learning_rate: Any) -> None:
    tf_keras, _ = libraries()
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(tf_keras.optimizers.Adam(learning_rate), loss, metrics=["accuracy"])


def _check(methods: Any, epochs: Any, learning_rate: Any, sparsity: Any, clusters: Any) -> list[str]:
    """The methods in the order in which they run."""
    if not isinstance(methods, list | tuple) or not methods or any(method not in METHODS for method in methods):
        raise ValueError(f"methods must be a list of one or more of {METHODS}, received {methods!r}")
    if len(set(methods)) != len(methods):
        raise ValueError(f"methods must name each method once, received {methods!r}")
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise ValueError(f"epochs must be an integer of at least 1, received {epochs!r}")
    if not isinstance(learning_rate, int | float) or not 0 < learning_rate < np.inf:
        raise ValueError(f"learning_rate must be a positive number, received {learning_rate!r}")
    if not isinstance(sparsity, int | float) or not 0 < sparsity < 1:
        raise ValueError(f"sparsity must be a number in (0, 1), received {sparsity!r}")
    least = 3 if "prune" in methods else 2
    if not isinstance(clusters, int) or isinstance(clusters, bool) or clusters < least:
        raise ValueError(f"clusters must be an integer of at least {least} with {methods!r}, received {clusters!r}")
    return [method for method in METHODS if method in methods]


def _steps(train: Any, steps_per_epoch: Any) -> int:
    if not isinstance(train, tf.data.Dataset):
        raise ValueError(f"train must be a tf.data.Dataset of (images, labels), received {type(train).__name__}")
    if steps_per_epoch is None:
        steps_per_epoch = int(train.cardinality())
        if steps_per_epoch < 0:
            raise ValueError("steps_per_epoch must be given for a dataset whose end is not known, received None")
    if not isinstance(steps_per_epoch, int) or isinstance(steps_per_epoch, bool) or steps_per_epoch < 2:
        raise ValueError(f"steps_per_epoch must be an integer of at least 2, received {steps_per_epoch!r}")
    return steps_per_epoch
