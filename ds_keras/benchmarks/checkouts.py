"""Training by this checkout against another one: is ``fit`` on one device slower than it was?

Each checkout trains in a process of its own; they run in turn (A B A B ...), and processor seconds are compared, since
other programs disturb the clock.

Example:
    git worktree add ../before <commit>
    python ds_keras/benchmarks/checkouts.py --other=../before
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import numpy as np

KINDS = ("stage1", "stage2", "validation")
STEPS = {"tiny": 40, "small": 8}  # timed at once, of a layout of ``DSMobileNet``


def work(kind: str, layout: str) -> None:
    """Trains: for each line from standard input some steps; writes the processor seconds of one."""
    import keras
    import tensorflow as tf

    from ds_keras.models import DSMobileNet
    from ds_keras.training import GateTrainer, SupernetTrainer

    model = getattr(DSMobileNet, layout)(10)
    trainer = (SupernetTrainer if kind == "stage1" else GateTrainer)(model)
    trainer.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 255, (64, *model.image_shape)).astype("float32"), np.arange(64) % 10
    steps = STEPS[layout]
    batches = tf.data.Dataset.from_tensors((x, y)).repeat(steps)
    for _ in sys.stdin:
        began = time.process_time()
        if kind == "validation":
            trainer.evaluate(batches, verbose=0)
        else:
            trainer.fit(batches, verbose=0, shuffle=False)
        print((time.process_time() - began) / steps, flush=True)


def compare(here: Path, other: Path, kind: str, layout: str, rounds: int) -> np.ndarray:
    """The ratios, pair by pair.

    Args:
        here: the checkout that is judged.
        other: the one that it is compared with.
        kind: of ``KINDS``.
        layout: of ``STEPS``.
        rounds: pairs that count; two before them do not.

    Returns:
        (rounds,) processor time of ``here`` by that of ``other``.
    """
    workers = [_start(checkout, kind, layout) for checkout in (here, other)]
    times = np.zeros((rounds + 2, 2))
    for i in range(rounds + 2):
        for k in (0, 1) if i % 2 else (1, 0):
            times[i, k] = _one(workers[k])
    for worker in workers:
        worker.communicate()
    return times[2:, 0] / times[2:, 1]


def _start(checkout: Path, kind: str, layout: str) -> Any:
    env = {**os.environ, "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, f"--work={kind}", f"--layout={layout}"]
    return subprocess.Popen(command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _one(worker: Any) -> float:
    to: IO[str] = worker.stdin
    to.write("\n")
    to.flush()
    return float(worker.stdout.readline())


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--other", type=Path, help="checkout to compare with")
    parser.add_argument("--layout", choices=STEPS, default="tiny", help="of DSMobileNet: 8 or 32 px")
    parser.add_argument("--rounds", type=int, default=12, help="pairs that count")
    parser.add_argument("--work", choices=KINDS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work, given.layout)
        return
    for kind in KINDS:
        ratios = compare(Path(__file__).parents[2], given.other.resolve(), kind, given.layout, given.rounds)
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        print(f"{kind}: {middle:.3f} of the other's processor time (quartiles {low:.3f} and {high:.3f})", flush=True)


if __name__ == "__main__":
    main()
