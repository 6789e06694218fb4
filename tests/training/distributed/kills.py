"""Kills a worker of two, ten times in each stage at random moments; the run ends as one that nobody disturbed.

A run of 60 steps in each stage is killed (SIGKILL) and started again twenty times: after a random step, and after up to
0.15 s more, so that a step, a reduction or a checkpoint may be cut in two. It takes about 20 minutes on two cores.

Example:
    PYTHONPATH=.:tests:tests/training/distributed python tests/training/distributed/kills.py --seed=0
"""

import argparse
import random
import re
import tempfile
from pathlib import Path

import numpy as np
from test_workers import arrays, die, finished, train

LAST = 45  # step after which no kill begins, of 60
EPOCHS = {"EPOCHS": "12"}


def main():
    """Runs, kills, compares."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10, help="in each stage")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "killed"
        for stage in ("stage1", "stage2"):
            for step in sorted(draw.sample(range(1, LAST), given.kills)):
                worker, seconds = draw.randrange(2), draw.choice([0.0, draw.uniform(0, 0.15)])
                said = die(workdir, 2, worker, stage, step, seconds, **EPOCHS)
                begun = re.findall(r"going on from step (\d+)", said[0])
                print(
                    f"{stage}: from step {begun or 0}, killed worker {worker} {seconds:.3f} s after {step}", flush=True
                )
        finished(train(workdir, 2, **EPOCHS))
        reference = Path(folder) / "reference"
        finished(train(reference, 2, **EPOCHS))
        expected, found = arrays(reference), arrays(workdir)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    print(f"{2 * given.kills} kills: all {len(expected)} arrays are equal, bit for bit")


if __name__ == "__main__":
    main()
