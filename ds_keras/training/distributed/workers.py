"""What the workers of a job agree on, and how one ends when another is gone."""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from ds_keras.training.distributed.strategies import is_chief, several_workers, workers

Value = TypeVar("Value")
EVERY = 1.0  # seconds between two looks at the other workers
REFUSED, SILENT = 3, 6  # looks in a row after which a worker is gone: its machine refuses, or does not answer at all
ANSWER = 4.0  # seconds that a worker has to answer


def sum_over_workers(strategy: tf.distribute.Strategy, array: np.ndarray) -> np.ndarray:
    """The sum of an array over all workers; every worker calls it.

    Args:
        strategy: of the job.
        array: of the same shape on every worker.

    Returns:
        The sum; with one worker the array itself.
    """
    if not several_workers(strategy):
        return array
    each = strategy.num_replicas_in_sync // len(workers()[0])  # replicas of a worker, of which one gives the array

    def value(context: Any) -> tf.Tensor:
        return tf.constant(array if context.replica_id_in_sync_group % each == 0 else np.zeros_like(array))

    values = strategy.experimental_distribute_values_from_function(value)
    return np.asarray(strategy.reduce("SUM", values, axis=None))


def gather(strategy: tf.distribute.Strategy, value: float) -> list[float]:
    """A number of every worker, in their order; every worker calls it, and waits for the others."""
    if not several_workers(strategy):
        return [value]
    addresses, place = workers()
    mine = np.zeros(len(addresses))
    mine[place] = value
    return [float(number) for number in sum_over_workers(strategy, mine)]


def part_of(strategy: tf.distribute.Strategy, count: int) -> tuple[int, int]:
    """The part [first, last) of ``count`` things that is this worker's, or all where there are fewer than workers."""
    if not several_workers(strategy) or count < len(workers()[0]):
        return 0, count
    addresses, place = workers()
    return count * place // len(addresses), count * (place + 1) // len(addresses)


def by_chief(strategy: tf.distribute.Strategy, write: Callable[[], Value], read: Callable[[], Value]) -> Value:
    """Lets the chief write something; the other workers wait, and read it.

    Args:
        strategy: of the job.
        write: the chief's work; it must make no variables under the strategy.
        read: what the others do afterwards, with the directory that all workers share.

    Returns:
        What ``write`` or ``read`` gave.
    """
    value = write() if is_chief(strategy) else None
    gather(strategy, 1.0)
    return read() if value is None else value


@contextlib.contextmanager
def job(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Within it a worker that is gone ends this process (exit code 1), within a minute, and a message names it.

    Workers leave it together. A strategy of one process needs no such care.

    Args:
        strategy: of the job.
    """
    if not several_workers(strategy):
        yield
        return
    watch = Watch(*workers())
    watch.start()
    try:
        yield
        gather(strategy, 1.0)
    except tf.errors.OpError:
        lost = watch.look()
        if lost is None:
            raise
        _end(lost)
    finally:
        watch.stop()
    gather(strategy, 1.0)  # nobody leaves while another still watches


def _end(message: str) -> None:
    """Ends the process at once: Python's own exit would wait over a minute for a chief that is gone."""
    print(f"error: {message}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


class Watch(threading.Thread):
    """Asks every second whether the other workers still listen, and ends the process where one does not.

    A worker that waits in a reduction cannot be told in another way: the operation does not return.

    Args:
        addresses: of all workers, "host:port".
        place: of this one.
    """

    def __init__(self, addresses: list[str], place: int):
        super().__init__(daemon=True)
        self.others = {k: address for k, address in enumerate(addresses) if k != place}
        self.refused = dict.fromkeys(self.others, 0)
        self.silent = dict.fromkeys(self.others, 0)
        self.stopped = threading.Event()

    def run(self) -> None:
        """Looks until it is stopped."""
        while not self.stopped.wait(EVERY):
            lost = self._lost()
            if lost is not None and not self.stopped.is_set():
                _end(lost)

    def look(self) -> str | None:
        """Looks until it is clear; the message about a worker that is gone, or None."""
        self.stop()
        for _ in range(2 * SILENT):
            lost = self._lost()
            if lost is not None:
                return lost
            time.sleep(EVERY)
        return None

    def stop(self) -> None:
        """Ends the thread."""
        self.stopped.set()

    def _lost(self) -> str | None:
        for worker, address in self.others.items():
            host, _, port = address.rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
            except ConnectionRefusedError:
                self.refused[worker] += 1
            except OSError:
                self.silent[worker] += 1
            else:
                self.refused[worker] = self.silent[worker] = 0
            if self.refused[worker] >= REFUSED or self.silent[worker] >= SILENT:
                return (
                    f"worker {worker} ({address}) is gone, so the job ends; start all workers again, and training goes "
                    "on from the last checkpoint"
                )
        return None
