"""Two and three workers on this machine, each a process: they train what one process trains with the whole batch."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers import stored
from programs import run_program

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def free_ports(count):
    """Ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def environments(count, **more):
    """The environment of each of so many workers; of one process without TF_CONFIG for 0."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", HERE)))
    common = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", **more}
    common.pop("TF_CONFIG", None)
    if not count:
        return [common]
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(count)]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": k}} for k in range(count)]
    return [{**common, "TF_CONFIG": json.dumps(task)} for task in tasks]


def start(count, command, **more):
    """Starts the workers: command(k) is what worker k runs."""
    return [
        subprocess.Popen([sys.executable, *command(k)], env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for k, env in enumerate(environments(count, **more))
    ]


def finished(processes, seconds=900):
    """Waits for all; what each wrote to stderr."""
    said = [process.communicate(timeout=seconds)[1] for process in processes]
    for process, text in zip(processes, said, strict=True):
        assert process.returncode == 0, text[-3000:]
    return said


def check(tmp_path, count, what):
    """So many workers give the same arrays, bit for bit, and those of one process to 1e-5."""

    def path(k):
        return str(tmp_path / f"{k}.npz")

    def work(k, env):
        return run_program(HERE / "worker.py", path(k), what, cwd=ROOT, env=env)

    with ThreadPoolExecutor(count + 1) as pool:
        done = list(pool.map(work, range(count + 1), [*environments(count), *environments(0)]))
    for result in done:
        assert result.returncode == 0, result.stderr[-3000:]
    *workers, alone = (dict(np.load(path(k))) for k in range(count + 1))
    assert len(alone) > 30
    for name, values in workers[0].items():
        for other in workers[1:]:
            np.testing.assert_array_equal(values, other[name], err_msg=name)
        np.testing.assert_allclose(values, alone[name], rtol=0, atol=1e-5, err_msg=name)


def test_two_workers_train_the_gate_as_one_process_does(tmp_path):
    check(tmp_path, 2, "gate")


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_workers_train_both_stages_as_one_process_does(tmp_path, count):
    check(tmp_path, count, "all")


def train(workdir, count, **more):
    """The command in each of so many workers."""
    flags = [f"--config={HERE / 'experiment.py'}", f"--workdir={workdir}", "--checkpoint_every=3"]
    strategy = "multi_worker" if count else "one_device"
    return start(count, lambda _: ["-m", "ds_keras", "train", *flags, f"--strategy={strategy}"], **more)


def arrays(workdir):
    """Every array of the preset's weights."""
    found = stored(workdir / "preset/model.weights.h5")
    assert len(found) > 20
    return found


def die(workdir, count, worker, stage, step, seconds=0, **more):
    """Starts the workers, of which one dies; checks that the others name it when they end, within a minute.

    Returns:
        What each said.
    """
    processes = train(workdir, count, DIE=f"{worker} {stage} {step} {seconds}", **more)
    processes[worker].wait(timeout=900)
    died = time.monotonic()
    said = [process.communicate(timeout=90)[1] for process in processes]
    assert processes[worker].returncode == -signal.SIGKILL, said[worker][-3000:]
    assert time.monotonic() - died < 60
    for k, process in enumerate(processes):
        if k != worker:
            assert process.returncode not in (0, -signal.SIGKILL)
            assert f"worker {worker} (localhost:" in said[k] and "is gone" in said[k], said[k][-3000:]
    return said


@pytest.mark.slow
@pytest.mark.parametrize("worker, stage, step, resumed", [(1, "stage1", 7, 6), (0, "stage2", 4, 3)])
def test_a_killed_worker_ends_the_job_which_then_goes_on(tmp_path, worker, stage, step, resumed):
    """Bit for bit as if nothing had happened; and on one device to float tolerance."""
    reference = train(tmp_path / "reference", 2)
    die(tmp_path / "killed", 2, worker, stage, step)
    finished(reference)
    shutil.copytree(tmp_path / "killed", tmp_path / "alone")
    again, alone = train(tmp_path / "killed", 2), train(tmp_path / "alone", 0)
    said = finished(again)
    assert all(f"{stage}: going on from step {resumed} of 10" in text for text in said)
    finished(alone)
    expected, same, near = (arrays(tmp_path / name) for name in ("reference", "killed", "alone"))
    for name, values in expected.items():
        np.testing.assert_array_equal(same[name], values, err_msg=name)
        np.testing.assert_allclose(near[name], values, rtol=0, atol=1e-4, err_msg=name)
