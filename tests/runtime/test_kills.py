"""kill -9 while a bundle's levels are written to the cache: the next start works."""

import random
import subprocess
import sys
import time

import numpy as np
import pytest

from ds_keras import zoo
from ds_keras.runtime import Session

CODE = """
import sys
from ds_keras.runtime import Session
session = Session(sys.argv[1], cache_dir=sys.argv[2])
print("ready", flush=True)
session.materialize("random")  # the entry of every level
print("done", flush=True)
sys.stdin.read()
"""


def start(bundle, cache):
    """A process that is about to write the levels."""
    command = [sys.executable, "-c", CODE, str(bundle), str(cache)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    return child


def kill(child):
    child.kill()
    child.communicate()


def test_processes_that_share_a_cache(tmp_path):
    """Three write the same levels at the same time: each ends well, and what they leave is whole."""
    bundle = zoo.bundle("ds_mobilenet_digits")
    children = [start(bundle, tmp_path) for _ in range(3)]
    try:
        assert [child.stdout.readline() for child in children] == ["done\n"] * 3
        assert [child.communicate()[0] for child in children] == [""] * 3
        assert [child.returncode for child in children] == [0] * 3
    finally:
        for child in children:
            kill(child)
    session = Session(bundle)
    files = sorted(tmp_path.glob("*/*.tflite"))
    assert {f"entry_{level}" for level in range(session.num_levels)} <= {path.stem for path in files}
    assert all(session.bundle.is_file(path.stem, path.read_bytes()) for path in files)
    assert not list(tmp_path.rglob(".writing-*"))


def killed_at_random(bundle, folder, kills):
    """Kills a process ``kills`` times while it writes; returns how many times something was missing afterwards."""
    child, began = start(bundle, folder / "whole"), time.perf_counter()
    assert child.stdout.readline() == "done\n"
    seconds = time.perf_counter() - began
    kill(child)
    rng, torn = random.Random(0), 0
    image = np.zeros((1, *Session(bundle).image_shape), "float32")
    expected = [Session(bundle).run(image, level=level).logits for level in range(4)]
    for i in range(kills):
        cache = folder / f"cache{i // 2}"  # the second process meets what the first left
        child = start(bundle, cache)
        time.sleep(rng.uniform(0, seconds))
        kill(child)
        found = sorted(cache.glob("*/entry_*.tflite"))
        session = Session(bundle, cache_dir=cache)
        torn += len(found) < 4
        for path in found:  # what has its name is whole
            assert session.bundle.is_file(path.stem, path.read_bytes())
        after = session if i % 2 else Session(bundle)  # the first leaves the cache as it is
        for level in range(4):
            np.testing.assert_array_equal(after.run(image, level=level).logits, expected[level])
    return torn


def test_a_kill_while_levels_are_written(tmp_path):
    killed_at_random(zoo.bundle("ds_resnet_cifar10"), tmp_path, kills=2)


@pytest.mark.slow
def test_fifty_kills(tmp_path):
    assert killed_at_random(zoo.bundle("ds_resnet_cifar10"), tmp_path, kills=50) >= 10
