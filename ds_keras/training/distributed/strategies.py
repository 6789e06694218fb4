"""Strategies of ``tf.distribute`` by name, and what a worker is among the workers."""

import json
import os
from typing import Any

import tensorflow as tf

STRATEGIES = ("one_device", "mirrored", "multi_worker")


def make_strategy(name: str) -> tf.distribute.Strategy:
    """A strategy; for several workers before TensorFlow has run anything in this process.

    Args:
        name: "one_device"; "mirrored" (all devices of this machine: its GPUs, else its logical CPUs); or
            "multi_worker" (the workers that the environment variable ``TF_CONFIG`` lists, as TensorFlow documents it).

    Returns:
        The strategy.

    Raises:
        ValueError: another name, or a ``TF_CONFIG`` that is missing or names no workers or another task.
        RuntimeError: of TensorFlow, where it has run an operation already.

    Example:
        >>> with make_strategy("mirrored").scope():
        ...     model = DSMobileNet.tiny()
        ...     trainer = SupernetTrainer(model)
        ...     trainer.compile("sgd")
    """
    if name == "one_device":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(kind)])
    if name == "multi_worker":
        workers()
        tf.get_logger().setLevel("WARNING")  # it says a line for every reduction that is traced
        return tf.distribute.MultiWorkerMirroredStrategy()
    raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, received {name!r}")


def workers() -> tuple[list[str], int]:
    """The addresses ("host:port") of the workers in ``TF_CONFIG``, the chief's first, and this worker's place.

    Raises:
        ValueError: ``TF_CONFIG`` is missing or is none.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        addresses = [*cluster.get("chief", []), *cluster["worker"]]
        place = int(task["index"]) + (len(cluster.get("chief", [])) if task["type"] == "worker" else 0)
        if task["type"] not in ("chief", "worker") or not 0 <= place < len(addresses):
            raise ValueError(f"task {task!r} is not in the cluster")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "TF_CONFIG must be JSON such as "
            '{"cluster": {"worker": ["host1:5000", "host2:5000"]}, "task": {"type": "worker", "index": 0}}, '
            f"received {text!r} ({type(error).__name__}: {error})"
        ) from None
    return addresses, place


def several_workers(strategy: Any) -> bool:
    """Whether a strategy runs in more than one process."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and len(workers()[0]) > 1


def is_chief(strategy: Any) -> bool:
    """Whether this process writes files: the first worker, or the only process."""
    return not several_workers(strategy) or workers()[1] == 0


def shares_work(strategy: tf.distribute.Strategy) -> bool:
    """Whether a strategy has several replicas, or is one of several workers."""
    return strategy.num_replicas_in_sync > 1 or several_workers(strategy)
