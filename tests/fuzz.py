"""Damages inputs at random, and sees that a reader takes them or refuses them with one error, within bounds."""

import contextlib
import random
import resource
import signal
import struct

SECONDS, MEMORY = 10, 1 << 30  # that one input may cost
NUMBERS = [0, 1, 0x7F, 0xFF, 0xFFFF, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1]
TEXTS = [
    b"1" * 5000,
    b"-1",
    b"1e400",
    b"NaN",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"[" * 2000,
    b'"',
    b"../../x",
    b"\0",
    b"\xff",
]


def mutate(rng, data):
    """Cut, grown, with flipped bits, other numbers, text of JSON, or a part of it twice or gone."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        at, way = rng.randrange(len(data) + 1), rng.randrange(8)
        end = min(len(data), at + rng.choice([1, 4, 16, 100]))
        if way == 0:
            del data[at:]
        elif way == 1:
            del data[at:end]
        elif way == 2:
            data[at:at] = data[at:end]
        elif way == 3:
            data[at:at] = rng.choice(TEXTS)
        elif way == 4:
            data[at : at + 8] = struct.pack(rng.choice("<>") + "Q", rng.choice(NUMBERS))
        elif way == 5:
            data[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(NUMBERS) & 0xFFFFFFFF)
        elif way == 6 and at < len(data):
            data[at] = rng.randrange(256)
        elif at < len(data):
            data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def fuzz(read, seeds, count, names, errors=(ValueError, FileNotFoundError), seed=0, untouched=False):
    """Runs ``read`` on damaged inputs.

    Args:
        read: takes bytes; what it raises must be one of ``errors``, with the culprit's name.
        seeds: whole inputs.
        count: damaged ones.
        names: the culprit's name, which every error has.
        errors: allowed ones.
        seed: of the random numbers.
        untouched: a library may ask for more memory than there is, where it would not have written to it.

    Returns:
        How many inputs were refused.
    """
    rng, refused = random.Random(seed), 0
    for data in seeds:
        read(data)  # what is whole is read
    for case in range(count):
        data = mutate(rng, rng.choice(seeds))
        try:
            with bounded():
                read(data)
        except errors as error:
            refused += 1
            assert names in str(error), f"case {case} of {data[:200]!r}: {error}"
            while error is not None and not untouched:
                assert not isinstance(error, MemoryError), f"case {case} of {data[:200]!r}"
                error = error.__cause__ or error.__context__
        except BaseException as error:
            raise AssertionError(f"case {case} of {data[:200]!r}: {type(error).__name__}: {error}") from error
    assert refused > count // 20  # else nothing was tried
    return refused


@contextlib.contextmanager
def bounded(seconds=SECONDS, memory=MEMORY):
    """What takes more time, or more memory besides what the process has, fails within."""

    def late(*_):
        raise TimeoutError(f"more than {seconds} seconds")

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    limits, before = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, limits[1]))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)
