import itertools
import os
import shutil
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
from damaged import parts_of, with_another_class
from helpers import close, images, same

from ds_keras.photos import Preprocessing
from ds_keras.policies import Times
from ds_keras.routing import budget
from ds_keras.routing import execute as routing
from ds_keras.runtime import Bundle, Session, levels
from ds_keras.runtime.manifest import check_manifest
from ds_keras.runtime.network import Interpreted

X = images(24)


@pytest.fixture
def session(path):
    return Session(path)


@pytest.mark.parametrize("policy", ["gate", "cascade", 1, None])
def test_policies(network, session, policy):
    found, expected = session.run(X, policy=policy), network.predict_routed(X, policy=policy)
    same(found.levels, expected.levels)
    same(found.madds, expected.madds)
    close(found.logits, expected.logits)


def test_random_is_a_draw_from_the_mix(network, session):
    found = session.run(X, policy="random", mix=[0.5, 0.0, 0.5], seed=3)
    expected = network.predict_routed(X, policy="random", mix=[0.5, 0.0, 0.5], seed=3)
    same(found.levels, expected.levels)
    close(found.logits, expected.logits)


@pytest.mark.parametrize("policy", ["gate", "cascade"])
def test_a_budget_means_what_it_means_to_the_model(network, session, policy):
    costs = [row[1] for row in network.budget_table[policy]]
    largest = network.costs[-1].start + network.costs[-1].body
    fraction = min((costs[0] + costs[-1]) / 2 / largest, 1.0)
    expected = network.predict_routed(X, policy=policy, budget=fraction)
    assert len(set(expected.levels)) > 1
    same(session.run(X, policy=policy, budget=fraction).levels, expected.levels)
    session.set_budget(fraction=fraction, policy=policy)
    same(session.run(X, policy=policy).levels, expected.levels)
    with pytest.raises(ValueError, match="out of reach of policy .*it must be at least"):
        session.set_budget(fraction=0.01, policy=policy)
    last = np.array(network.budget_table[policy][-1][0], "float32")
    session.set_budget(madds=7 * largest, policy=policy)
    same(session.settings[policy], last)
    for owner in (session, network):
        with pytest.raises(ValueError, match=r"fraction must be at most 1, .* received 30: give 0\.3 for 30 %"):
            owner.set_budget(fraction=30, policy=policy)
    with pytest.raises(ValueError, match="fraction must be at most 1"):
        session.run(X, policy=policy, budget=1.01)


@pytest.mark.parametrize("policy", ["gate", "cascade"])
def test_a_budget_in_milliseconds(network, session, policy):
    """It lies between two rows of the table, for the session and for the model alike."""
    session.times = times = Times(1.0, [0.5, 1.0, 4.0], 0.25, 0.5)
    spent = times.of([row[3] for row in network.budget_table[policy]], policy)
    for below, above in itertools.pairwise(spent):
        milliseconds = (below + above) / 2
        session.set_budget(milliseconds=milliseconds, policy=policy)
        settings = budget.settings_for(network, policy, milliseconds=milliseconds, times=times)
        routed = routing.predict_routed(network, X, policy, settings)
        same(session.run(X, policy=policy).levels, routed.levels)
        same(session.run(X, policy=policy, milliseconds=milliseconds).levels, routed.levels)
        assert session.times is times
    least = f"0.100 ms is out of reach of policy '{policy}': it must be at least {spent[0]:.3f} ms"
    with pytest.raises(ValueError, match=least):
        session.run(X, policy=policy, milliseconds=0.1)
    generous = session.run(X, policy=policy, milliseconds=99.0)
    last = np.array(network.budget_table[policy][-1][0], "float32")
    same(generous.levels, routing.predict_routed(network, X, policy, last).levels)


def test_benchmark(path, network):
    session = Session(path, keep=1)
    for wrong in ({"budget": 0.5, "milliseconds": 1.0}, {"policy": 1, "milliseconds": 1.0}, {"milliseconds": "1"}):
        with pytest.raises(ValueError, match=r"give exactly one of|a budget needs a policy|must be a number"):
            session.run(X, **wrong)
    assert session.times is None
    with pytest.raises(ValueError, match="a budget of 0.000 ms is out of reach"):
        session.set_budget(milliseconds=0, policy="gate")
    times = session.times
    assert len(times.bodies) == 3 and min(times.bodies) > 0 and min(times.judge, times.gate) >= 0
    for arguments in ({"images": X[:0]}, {"rounds": 0}, {"rounds": 1.5}):
        with pytest.raises(ValueError, match="a benchmark needs an image and a round at least, received"):
            session.benchmark(**arguments)
    assert session.times is times


def test_a_benchmark_opens_each_file_once(path, monkeypatch):
    """However few the session keeps: else their making would be timed."""
    session, opened = Session(path, keep=1), []
    make = session._levels._network
    monkeypatch.setattr(session._levels, "_network", lambda name: opened.append(name) or make(name))
    session.benchmark(rounds=2)
    assert sorted(opened) == ["body_0", "body_1", "body_2", "entry_0"]
    assert session._levels.keep == 1 == len(session._levels.opened)


@pytest.mark.parametrize(
    ("policy", "setting", "calls"), [(1, None, 1), ("cascade", 0.0, 1), ("cascade", 1.01, 3), ("gate", 0.0, 2)]
)
def test_how_often_litert_is_called(network, path, policy, setting, calls, monkeypatch):
    """A fixed level and an image that stays with the first level: once. The gate's route is nobody else's."""
    session, called = Session(path), []
    assert len(session.manifest["policy"]["cascade"]) == 3
    if setting is not None:
        session.settings[policy] = np.full(2 if policy == "cascade" else 1, setting, "float32")
    run = Interpreted.__call__
    monkeypatch.setattr(
        Interpreted, "__call__", lambda self, *args, **kw: called.append(self) or run(self, *args, **kw)
    )
    session.run(X[:1], policy=policy)
    assert len(called) == calls and (session._levels.route in called) == (policy == "gate")


def test_uint8_and_empty_batches(session):
    whole = X.astype("uint8")
    same(session.run(whole, level=0).logits, session.run(whole.astype("float32"), level=0).logits)
    empty = session.run(X[:0])
    assert empty.logits.shape == (0, 3) and empty.levels.shape == empty.madds.shape == (0,)


@pytest.mark.parametrize("engine", ["interpreter", "compiled"])
@pytest.mark.parametrize("policy", ["gate", "cascade", 1, "random"])
def test_one_image_is_as_in_a_batch(path, policy, engine):
    if engine == "compiled":
        pytest.importorskip("ai_edge_litert.options", reason="this ai-edge-litert has no CompiledModel with options")
    session = Session(path, engine=engine)
    mix = [0.0, 1.0, 0.0] if policy == "random" else None  # a draw of one level
    whole = session.run(X, policy=policy, mix=mix)
    rows = [session.run(X[i : i + 1], policy=policy, mix=mix) for i in range(len(X))]
    for field, parts in zip(whole, zip(*rows, strict=True), strict=True):
        assert all(part.dtype == field.dtype for part in parts)
        same(np.concatenate(parts), field)


def test_a_level_that_fails_leaves_the_session_usable(session, monkeypatch):
    """While its error is handled too, when the features that it was lent are not yet forgotten."""
    expected, session.settings["cascade"] = session.run(X[:1], level=0).logits, np.ones(2, "float32")

    def refuse(name, make=session._levels.data):
        if name == "body_2":
            raise ValueError("body_2 is damaged")
        return make(name)

    monkeypatch.setattr(session._levels, "data", refuse)
    try:
        session.run(X[:1], policy="cascade")
    except ValueError:
        same(session.run(X[:1], level=0).logits, expected)
    else:
        pytest.fail("level 2 ran")


def test_results_are_the_callers(session):
    first = session.run(X[:1], level=1)
    kept = first.logits.copy()
    first.levels[:], first.madds[:] = 9, 9
    second = session.run(X[1:2], level=1)
    same(first.logits, kept)
    assert second.levels == [1] and second.madds > 9


def test_few_levels_stay_open(path):
    session = Session(path, keep=1)
    for level in (0, 2, 1, 0):
        session.run(X[:2], level=level)
        assert list(session._levels.opened) == [f"entry_{level}"]
    for policy in ("cascade", "gate"):
        session.run(X, policy=policy)
        assert [name[:5] for name in session._levels.opened] == ["body_"]


def test_the_cache_is_used_and_mended(network, path, tmp_path, monkeypatch):
    session = Session(path, cache_dir=tmp_path)
    files = session.materialize("random")
    assert [file.name for file in files] == ["entry_0.tflite", "entry_1.tflite", "entry_2.tflite"]
    entries = [Bundle(path).file(file.stem) for file in files]
    assert [file.read_bytes() for file in files] == entries
    damaged = files[1].read_bytes()[:-9]
    files[1].write_bytes(damaged)
    made = []
    monkeypatch.setattr(Bundle, "file", lambda self, name, make=Bundle.file: made.append(name) or make(self, name))
    again = Session(path, cache_dir=tmp_path)
    for level in range(3):
        close(again.run(X, level=level).logits, network(X, level=level))
    assert made == ["entry_1"] and files[1].read_bytes() == entries[1]


def test_threads_share_a_session(session):
    expected = {level: session.run(X, level=level).logits for level in range(3)}
    wrong = []

    def work(level):
        for _ in range(5):
            if not np.array_equal(session.run(X, level=level).logits, expected[level]):
                wrong.append(level)

    threads = [threading.Thread(target=work, args=(level,)) for level in (0, 1, 2, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_many_threads_on_one_open_file(path, session):
    """Each level closes the last one's file: the threads end, with the right answers."""
    small, expected = Session(path, keep=1), [session.run(X[:2], level=level).logits for level in range(3)]
    wrong = []

    def work(number):
        for i in range(2):
            level = (number + i) % 3
            if not np.array_equal(small.run(X[:2], level=level).logits, expected[level]):
                wrong.append(level)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_a_cache_that_is_deleted_while_it_is_used(path, session, tmp_path):
    cached = Session(path, cache_dir=tmp_path / "cache", keep=1)
    for level in (0, 1, 0, 1):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        same(cached.run(X[:2], level=level).logits, session.run(X[:2], level=level).logits)
    assert all(file.is_file() for file in cached.materialize())


@pytest.mark.parametrize("kind", ["pipe", "device", "link", "directory", "sparse", "no link's end"])
def test_what_lies_in_the_cache_instead_of_a_file(path, session, tmp_path, kind):
    """It is made again; what a link points to stays as it is."""
    first = Session(path, cache_dir=tmp_path / "cache").materialize(0)[0]
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    first.unlink()
    if kind == "pipe":
        os.mkfifo(first)
    elif kind == "directory":
        first.mkdir()
    elif kind == "sparse":
        first.touch()
        os.truncate(first, 100 << 30)
    else:
        first.symlink_to({"device": "/dev/zero", "link": other}.get(kind, tmp_path / "absent"))
    cached = Session(path, cache_dir=tmp_path / "cache")
    same(cached.run(X[:2], level=0).logits, session.run(X[:2], level=0).logits)
    assert other.read_bytes() == b"precious" and not (tmp_path / "absent").exists()
    if kind != "directory":
        assert first.is_file() and not first.is_symlink()


@pytest.mark.parametrize("policy", ["gate", "cascade", 2])
def test_classes_of_another_number_than_the_graphs_are_refused_on_opening(path, tmp_path, policy):
    parts = parts_of(path) if path.is_dir() else {}
    if not parts:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
    classes = with_another_class(parts, tmp_path / "other", policy)
    with pytest.raises(ValueError, match=rf"other: .* must give {classes + 1} logits, its shape is \(1, {classes}\)"):
        Session(tmp_path / "other")


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "~nobody_of_this_name", "\ud800"])
def test_names_that_no_bundle_has(name):
    with pytest.raises(ValueError, match="path must be a bundle"):
        Session(name)


def test_a_weight_cache_that_cannot_be_kept(path, session, tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert.options", reason="this ai-edge-litert has no CompiledModel with options")
    monkeypatch.setattr("ds_keras.runtime.network.replacing", lambda path: os.listdir(path / "nothing"))
    found = Session(path, cache_dir=tmp_path, engine="compiled", weight_cache=True).run(X, level=1)
    close(found.logits, session.run(X, level=1).logits)
    assert not list(tmp_path.rglob("*.xnnpack"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 0, "policy": "gate"}, "give level or policy, received level=0 and policy='gate'"),
        ({"level": 3}, r"level must be an integer in \[0, 3\), received 3"),
        ({"level": "cascade"}, r"level must be an integer in \[0, 3\), received 'cascade'"),
        ({"mix": [1, 0, 0]}, r"mix belongs to policy 'random', received mix=\[1, 0, 0\] with policy="),
        ({"level": 1, "seed": 2}, "seed belongs to policy 'random', received seed=2 with policy=1"),
        ({"policy": "gate", "budget": "half"}, "fraction must be a number, received 'half'"),
        ({"policy": "oracle"}, "received 'oracle'"),
        ({"policy": 1, "budget": 0.5}, "a budget needs a policy of"),
        ({"images": X[0]}, r"images must be numbers of shape \(count, 8, 8, 1\), received float32 \(8, 8, 1\)"),
        ({"images": np.full((1, 8, 8, 1), "x")}, "images must be numbers"),
        ({"images": images(2, 12)}, r"received float32 \(2, 12, 12, 1\): session\.classify takes photos of any size"),
        ({"images": np.full((1, 8, 8, 1), np.nan)}, "images must be finite, received values from nan to nan"),
        ({"images": np.full((1, 8, 8, 1), np.inf)}, "images must be finite"),
        ({"policy": "random", "mix": [1, 1, 1]}, "mix must hold 3 probabilities"),
    ],
)
def test_bad_runs(session, arguments, message):
    with pytest.raises(ValueError, match=message):
        session.run(**{"images": X, **arguments})


def test_classify(network, session):
    """Photos of any size, as the model classifies them."""
    photos = [*X[:5], np.kron(X[6], np.ones((3, 2, 1))).astype("uint8")]
    for arguments in ({}, {"policy": 1}, {"policy": "cascade"}):
        for ours, theirs in zip(
            session.classify(photos, **arguments), network.classify(photos, **arguments), strict=True
        ):
            assert (ours.labels, ours.level, ours.madds) == (theirs.labels, theirs.level, theirs.madds)
            close(ours.probabilities, theirs.probabilities)
    assert session.classify(photos[0], top=1, level=2)[0].level == 2


def test_preprocessing_is_the_bundles(path):
    bundle = Bundle(path)
    assert bundle.manifest["preprocessing"] == {"crop_fraction": 1.0, "interpolation": "bilinear"}
    bundle.manifest["preprocessing"] = {"crop_fraction": 0.5, "interpolation": "bicubic"}
    assert Session(bundle).preprocessing == Preprocessing(0.5, "bicubic")
    del bundle.manifest["preprocessing"]  # as in older bundles
    check_manifest(bundle.manifest)
    assert Session(bundle).preprocessing == Preprocessing()
    with pytest.raises(ValueError, match="crop_fraction must be in"):
        check_manifest({**bundle.manifest, "preprocessing": {"crop_fraction": 0}})


def test_a_home_directory(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    assert Session(f"~/{path.name}", cache_dir="~/cache").materialize(0)[0].is_relative_to(path.parent)


def test_values_in_0_to_1(network, session):
    for use in (session.run, network.predict_routed, session.classify, network.classify):
        with pytest.warns(UserWarning, match=r"lie in \[0, 1\]"):
            use(X[:2] / 255)


def test_bad_sessions(path, tmp_path):
    with pytest.raises(ValueError, match="path must be a bundle"):
        Session(tmp_path / "nothing")
    with pytest.raises(ValueError, match="bundle.json is missing"):
        Session(tmp_path)
    with pytest.raises(ValueError, match="num_threads must be a positive integer, received 0"):
        Session(path, num_threads=0)
    with pytest.raises(ValueError, match="num_threads must be at most 1024, received 100000"):
        Session(path, num_threads=100_000)
    with pytest.raises(ValueError, match="cache_dir must be given to the session"):
        Session(path).materialize()
    with pytest.raises(ValueError, match="cache_dir must be a directory, received the file"):
        Session(path, cache_dir=path)
    with pytest.raises(ValueError, match=r"level must be an integer in \[0, 3\), received 7"):
        Session(path).open(7)
    for name in ("body_3", "level_0", 1, None):
        with pytest.raises(ValueError, match=rf"name must be one of \['route', 'entry_0', .*\], received {name!r}"):
            Bundle(path).file(name)


def test_a_full_disk_costs_no_answer(path, session, tmp_path, monkeypatch):
    """A level that cannot be cached runs all the same; who asks for the files is told."""

    def full(*_):
        raise OSError(28, "No space left on device")

    cached = Session(path, cache_dir=tmp_path)
    monkeypatch.setattr(levels, "write_bytes", full)
    for level in range(3):
        same(cached.run(X, level=level).logits, session.run(X, level=level).logits)
    with pytest.raises(OSError, match="No space left on device"):
        cached.materialize()
    monkeypatch.undo()
    assert all(file.is_file() for file in cached.materialize())


@pytest.mark.parametrize("policy", [None, "gate", "cascade", "random", 1])
def test_a_policy_runs_the_files_that_it_says(path, tmp_path, policy):
    session = Session(path, cache_dir=tmp_path / "asked")
    for file in session.materialize(policy):
        assert session.bundle.is_file(file.stem, file.read_bytes())
    used = Session(path, keep=9)
    del used._levels.route  # which the gate, the default policy, has opened already
    used.run(X, policy=policy, seed=0 if policy == "random" else None)
    ran = set(used._levels.opened) | {"route"} & set(vars(used._levels))
    assert ran == {file.stem for file in session.materialize(policy)}


def test_it_needs_no_tensorflow(path, network):
    """In a process where neither TensorFlow nor Keras can be imported."""
    code = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tf_keras", "h5py", "PIL", "absl"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import numpy as np
from ds_keras.runtime import Session
images = np.load(sys.argv[2])
np.save(sys.argv[3], Session(sys.argv[1]).run(images, level=1).logits)
"""
    images_path, logits = path.with_suffix(".images.npy"), path.with_suffix(".logits.npy")
    np.save(images_path, X)
    subprocess.run([sys.executable, "-c", code, str(path), str(images_path), str(logits)], check=True)
    close(np.load(logits), network(X, level=1))


@pytest.mark.parametrize("policy", ["gate", "cascade", 2])
def test_engines_give_the_same(path, session, policy):
    pytest.importorskip("ai_edge_litert.options", reason="this ai-edge-litert has no CompiledModel with options")
    compiled = Session(path, engine="compiled")
    found, expected = compiled.run(X, policy=policy), session.run(X, policy=policy)
    same(found.levels, expected.levels)
    close(found.logits, expected.logits)
    close(compiled.features(X[3]), session.features(X[3]))


def test_the_weight_cache_is_used_and_mended(path, session, tmp_path):
    pytest.importorskip("ai_edge_litert.options", reason="this ai-edge-litert has no CompiledModel with options")
    expected = session.run(X, level=1).logits

    def start():
        close(Session(path, cache_dir=tmp_path, engine="compiled", weight_cache=True).run(X, level=1).logits, expected)
        return next(tmp_path.rglob("entry_1.xnnpack"))

    cache = start()
    whole, moment = cache.read_bytes(), cache.stat().st_mtime_ns
    assert len(whole) > 1000 and start().stat().st_mtime_ns == moment
    for damage in (whole[: len(whole) // 2], whole[:-100] + bytes(100), b""):
        cache.write_bytes(damage)
        assert start().read_bytes() == whole
    cache.with_suffix(".sha256").write_bytes(b"\xff\xfe")
    assert start().read_bytes() == whole
    cache.with_suffix(".sha256").unlink()
    assert start().read_bytes() == whole and cache.with_suffix(".sha256").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "gpu"}, r"engine must be one of \('interpreter', 'compiled'\), received 'gpu'"),
        ({"weight_cache": True}, "weight_cache needs engine='compiled' and a cache_dir, received 'interpreter'"),
        ({"weight_cache": True, "engine": "compiled"}, "and a cache_dir, received 'compiled' and None"),
    ],
)
def test_bad_engines(path, arguments, message):
    with pytest.raises(ValueError, match=message):
        Session(path, **arguments)
