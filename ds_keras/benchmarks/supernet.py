"""Timings of a supernet: slicing at run time, routed batches, the Stage I step, the pipeline; its bundle in LiteRT."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras import data, export
from ds_keras.benchmarks.bundle import against, routed_to
from ds_keras.benchmarks.torch_twin import masked_twin, torch_twin
from ds_keras.core.levels import Level
from ds_keras.core.timing import paired
from ds_keras.core.visitor import Compute
from ds_keras.export.subnet import subnet
from ds_keras.routing.batch import run_levels
from ds_keras.runtime import Session
from ds_keras.runtime.network import ENGINES, Interpreted
from ds_keras.training.stage1 import SupernetTrainer

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

in_graph = partial(tf.function, autograph=False)  # converting the Python of a network takes as long as tracing it


def slicing(model: "Supernet", batch_size: int, rounds: int = 30) -> list[dict[str, Any]]:
    """Run-time slicing against the plain network of the same level, both compiled and with fused BatchNorm.

    The plain network is ``export.subnet`` with BatchNorm kept; its BatchNormalization layers are replaced by the
    fused kernel, because Keras' own layer is not fused and would flatter the supernet.

    Args:
        model: supernet.
        batch_size: images at a time.
        rounds: pairs for each row.

    Returns:
        Rows: level, kind ("int" or "tensor" level), and the fields of ``Paired`` (A is the supernet).
    """
    x = _images(model, batch_size)
    rows = []
    by_tensor = in_graph(lambda x, level: model(x, level=level))
    for level in range(len(model.levels)):
        network = _fused(subnet(model, level))
        plain = in_graph(lambda x, network=network: network(x, training=False))
        by_int = in_graph(lambda x, level=level: model(x, level=level))
        index = tf.constant(level)
        for kind, run in (("int", partial(by_int, x)), ("tensor", partial(by_tensor, x, index))):
            result = paired(run, partial(plain, x), rounds)
            rows.append({"what": "slicing", "level": level, "kind": kind, **result._asdict()})
    return rows


def routed_batch(model: "Supernet", batch_size: int, rounds: int = 30) -> list[dict[str, Any]]:
    """A routed batch against the time of ``route`` plus the bodies of its buckets, each run alone.

    Args:
        model: supernet.
        batch_size: images at a time, spread evenly over the levels.
        rounds: pairs.

    Returns:
        One row (A is the routed batch).
    """
    x = _images(model, batch_size)
    count = len(model.levels)
    levels = tf.constant(np.arange(batch_size) % count, tf.int32)
    route = in_graph(lambda x: (model.start(Compute(0), x)[0], model.route(x)))
    features = model.start(Compute(0), x)[0]
    bodies, buckets = [], []
    for level in range(count):
        buckets.append(tf.nest.map_structure(lambda f, k=level: tf.boolean_mask(f, levels == k), features))
        bodies.append(in_graph(lambda f, k=level: model.body(Compute(k), f)))

    def separately() -> None:
        route(x)
        for body, bucket in zip(bodies, buckets, strict=True):
            body(bucket)

    @in_graph
    def routed(x: tf.Tensor) -> tf.Tensor:
        features, gate_features = model.start(Compute(0), x)
        gate = tf.reduce_sum(model.gate(Compute(0), gate_features))  # paid, though the benchmark sets the mix
        return run_levels(model, features, levels) + 0 * gate

    result = paired(lambda: routed(x), separately, rounds)
    return [{"what": "routed batch", "level": "even mix", "kind": "", **result._asdict()}]


def stage1_step(model: "Supernet", batch_size: int, rounds: int = 20) -> list[dict[str, Any]]:
    """A Stage I step against the sum of its passes, each a training pass alone, at the same levels.

    Args:
        model: supernet; its weights move.
        batch_size: images at a time.
        rounds: pairs.

    Returns:
        One row (A is the step: largest, two middle levels, smallest; labels as targets, plain SGD).
    """
    x = _images(model, batch_size)
    y = tf.constant(np.arange(batch_size) % model.num_classes, tf.int32)
    count = len(model.levels)
    drawn: list[Level] = [model.teacher_level.index, count // 2, count // 3, 0]

    class Drawn(SupernetTrainer):
        def draw_levels(self) -> list[Level]:
            return drawn

    trainer = Drawn(model, objective="ce", weight_decay=0.0)
    trainer.compile("sgd")
    step = in_graph(lambda: trainer.train_step((x, y)))
    variables = trainer.trained_variables

    def alone(level: Level) -> Callable[[], Any]:
        @in_graph
        def run() -> list:
            with tf.GradientTape() as tape:
                logits = model.logits(Compute(level, training=True), x)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
            return [g for g in tape.gradient(loss, variables) if g is not None]

        return run

    passes = [alone(level) for level in drawn]
    result = paired(step, lambda: [run() for run in passes], rounds)
    return [{"what": "Stage I step", "level": str(drawn), "kind": "", **result._asdict()}]


def pipeline(model: "Supernet", batch_size: int, rounds: int = 30) -> list[dict[str, Any]]:
    """The input pipeline (flip, pad-crop, random erasing of images in memory) against the Stage I step it feeds.

    Args:
        model: supernet; its weights move.
        batch_size: images at a time.
        rounds: pairs.

    Returns:
        One row (A is a batch of the pipeline, B the step: largest, one random and the smallest level).
    """
    count = 20 * batch_size
    images = np.random.default_rng(0).integers(0, 256, (count, *model.image_shape), dtype=np.uint8)
    labels = np.arange(count) % model.num_classes
    source = data.Source.from_arrays(images, labels, [str(k) for k in range(model.num_classes)])
    batches = iter(data.batches(source, batch_size, seed=0, augment="flip,pad_crop:2,erase:0.25"))
    trainer = SupernetTrainer(model, num_random=1)
    trainer.compile("sgd")
    step = in_graph(lambda batch: trainer.train_step(batch))
    batch = next(batches)
    result = paired(lambda: next(batches), lambda: step(batch), rounds)
    return [{"what": "pipeline", "level": "a batch", "kind": "", **result._asdict()}]


def bundle(
    model: "Supernet", batch_size: int, rounds: int = 30, quantization: str | None = None
) -> list[dict[str, Any]]:
    """A bundle against static files of the whole networks: size, and latency of an image at every level.

    Args:
        model: supernet.
        batch_size: images that a call runs, one by one.
        rounds: pairs.
        quantization: of the bundle and of the files; the ranges of "int8" are those of noise.

    Returns:
        Two rows of "mb", the bundle and one file of the largest level, with their ratio as the kind; a row for each
        level and engine (A is the session), and what the gate and the cascade cost where they end in it.
    """
    images = _images(model, batch_size).numpy()
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {
            "quantization": quantization,
            "calibration_data": images if quantization == "int8" else None,
        }
        path = export.to_bundle(model, Path(folder) / "x.dsbundle", **options)
        whole = [file.read_bytes() for file in export.to_tflite(model, folder, **options)]
        sizes = {"bundle": path.stat().st_size, "largest level": len(whole[-1])}
        ratio = f"ratio {sizes['bundle'] / sizes['largest level']:.4f}"
        rows = [{"what": "size", "level": name, "kind": ratio, "mb": size / 1e6} for name, size in sizes.items()]
        for engine in ENGINES:
            session = Session(path, engine=engine, keep=len(whole))
            for level, data in enumerate(whole):
                static = Interpreted(data, 1)
                rows += against(f"session, {engine}", session, level, static, images, rounds)
                rows += routed_to(session, level, static, images, rounds)
    return rows


def pytorch(model: "Supernet", batch_size: int, rounds: int = 30) -> list[dict[str, Any]]:
    """A float32 bundle in LiteRT against PyTorch, one thread.

    PyTorch runs each level's network alone, BatchNorm "folded" or as a layer of its own ("BatchNorm"), and in the
    dynamic mode of the published code: all at full width, the level's channels kept by "masks" (see ``masked_twin``).

    Args:
        model: DSMobileNet.
        batch_size: images that a call runs, one by one.
        rounds: pairs.

    Returns:
        Three rows for each level (A is the session at that level).
    """
    import torch

    torch.set_num_threads(1)
    images, rows = _images(model, batch_size).numpy(), []
    with tempfile.TemporaryDirectory() as folder:
        session = Session(export.to_bundle(model, Path(folder) / "x.dsbundle"), keep=len(model.levels))
        masked = masked_twin(model)
        for level in range(len(model.levels)):
            ways: dict[str, Callable[[np.ndarray], Any]] = {
                "folded": torch_twin(subnet(model, level, fold_batch_norm=True)),
                "BatchNorm": torch_twin(subnet(model, level)),
                "masks": partial(masked, level=level),
            }
            for kind, run in ways.items():
                rows += [{**row, "kind": kind} for row in against("PyTorch", session, level, run, images, rounds)]
    return rows


class _FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer on the fused kernel, inference only."""

    def call(self, x: tf.Tensor, training: Any = None, mask: Any = None) -> tf.Tensor:
        y, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=self.gamma,
            offset=self.beta,
            mean=self.moving_mean,
            variance=self.moving_variance,
            epsilon=self.epsilon,
            is_training=False,
        )
        return y


def _fused(network: keras.Model) -> keras.Model:
    """The same network with fused BatchNorm layers."""

    def swap(layer: Any) -> Any:
        if isinstance(layer, keras.layers.BatchNormalization):
            return _FusedBatchNormalization.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())

    twin = keras.models.clone_model(network, clone_function=swap)
    twin.set_weights(network.get_weights())
    return twin


def _images(model: "Supernet", batch_size: int) -> tf.Tensor:
    images = np.random.default_rng(0).uniform(0, 255, (batch_size, *model.image_shape))
    return tf.constant(images, tf.float32)
