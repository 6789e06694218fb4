"""The page's JavaScript against Python: equal files, equal routing, equal images; damaged bundles are refused."""

import base64
import hashlib
import json
import zipfile

import numpy as np
import pytest
import shared
from damaged import as_directory, as_file, as_version_2, parts_of, rehashed, samples, with_another_class
from helpers import SUPERNETS
from PIL import Image

from ds_keras import zoo
from ds_keras.detection.boxes import choose, stretched
from ds_keras.detection.routing.confidence import CONFIDENCES, confidence
from ds_keras.photos import Preprocessing, load_photo
from ds_keras.policies.base import RoutingSpec
from ds_keras.policies.budget_table import BudgetTable
from ds_keras.policies.registry import find
from ds_keras.runtime import Bundle
from ds_keras.runtime.router import Router

BUNDLES = [
    pytest.param(name, int8, marks=[pytest.mark.slow] * (int8 and "digits" not in name))
    for name in SUPERNETS
    for int8 in (False, True)
]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Of a small bundle."""
    return parts_of(shared.bundle("labelled", tmp_path_factory))


@pytest.mark.parametrize(("name", "int8"), BUNDLES)
def test_equal_files(node, name, int8):
    path = zoo.bundle(name, int8)
    bundle = Bundle(path)
    (answer,) = node({"task": "files", "path": str(path), "own": "digits" in name})
    published = {file: entry["sha256"] for file, entry in bundle.manifest["files"].items()}
    assert answer["value"] == {"id": bundle.id, "files": published}


def test_a_detector(node, tmp_path_factory, tmp_path):
    """Equal files, boxes and images; damaged manifests are refused."""
    path, rng = shared.bundle("detector.dsbundle", tmp_path_factory), np.random.default_rng(0)
    bundle, parts = Bundle(path), {}
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    changes = [
        {"task": "classification"},
        {"outputs": {"boxes": [84, 4], "scores": [84, 3]}},
        {"outputs": {"boxes": [1 << 24, 4], "scores": [1 << 24, 2]}},
        {"format_version": 3},
        {"policy": {**bundle.manifest["policy"], "confidence": "sure"}},
        {"policy": {**bundle.manifest["policy"], "budget_table": {}}},
    ]
    damaged = []
    for i, change in enumerate(changes):
        text = json.dumps({**json.loads(parts["bundle.json"]), **change}).encode()
        as_file(tmp_path / str(i), {**parts, "bundle.json": text})
        damaged.append({"task": "files", "path": str(tmp_path / str(i))})
    low = rng.uniform(-0.2, 0.9, (600, 2))
    boxes = np.concatenate([low, low + rng.uniform(-0.05, 0.4, (600, 2))], axis=1).astype("float32")
    scores = (rng.integers(0, 12, (600, 3)) / 10).astype("float32")
    boxes[3, 1], scores[5] = np.nan, np.nan
    numbers = {name: base64.b64encode(x.tobytes()).decode() for name, x in {"boxes": boxes, "scores": scores}.items()}
    choices = [(0.3, 0.5, 100), (0.0, 0.2, 1000)]
    photo = rng.integers(0, 256, (37, 91, 3), dtype=np.uint8)
    rgba = np.concatenate([photo, np.full((37, 91, 1), 255, np.uint8)], axis=2)
    size = {"width": 91, "height": 37, "shape": [64, 64, 3], "preprocessing": {"stretched": True}}
    tasks = [dict(task="boxes", threshold=t, iou=i, most=m, **numbers) for t, i, m in choices]
    tasks.append({"task": "input", "data": base64.b64encode(rgba.tobytes()).decode(), **size})
    tasks += [{"task": "classes", "path": str(path)}, {"task": "files", "path": str(path)}, *damaged]
    answers = node(*tasks)
    *chosen, image, classes, files = (answer["value"] for answer in answers[: -len(damaged)])
    for found, (threshold, iou, most) in zip(chosen, choices, strict=True):
        expected = choose(boxes, scores, threshold, iou, most)
        rows = np.array(found["rows"], "float32")
        sure = [confidence(expected.scores, name) for name in CONFIDENCES]
        np.testing.assert_allclose(found["sure"], sure, rtol=1e-5)
        np.testing.assert_array_equal(rows[:, :4], expected.boxes)
        np.testing.assert_array_equal(rows[:, 4:].T, [expected.scores, expected.classes])
    difference = np.abs(np.reshape(image, (64, 64, 3)) - stretched(photo, (64, 64, 3)))
    assert difference.max() <= 1  # Pillow rounds between its two passes, the page does not
    assert classes == "ok"
    assert files["files"] == {name: entry["sha256"] for name, entry in bundle.manifest["files"].items()}
    assert all("error" in answer for answer in answers[-len(damaged) :])


@pytest.mark.parametrize("version", [2, 3])
def test_equal_files_of_every_version(node, parts, tmp_path, version):
    for name, data in parts.items():
        (tmp_path / name).write_bytes(data)
    as_file(tmp_path / "x.dsbundle", parts if version == 3 else as_version_2(tmp_path))
    (answer,) = node({"task": "files", "path": str(tmp_path / "x.dsbundle")})
    bundle = Bundle(tmp_path / "x.dsbundle")
    assert bundle.manifest["format_version"] == version
    assert answer["value"]["files"] == {file: hashlib.sha256(bundle.file(file)).hexdigest() for file in bundle.files}


@pytest.mark.parametrize(("name", "int8"), BUNDLES)
def test_classes_are_those_of_the_graph(node, name, int8):
    (answer,) = node({"task": "classes", "path": str(zoo.bundle(name, int8))})
    assert answer["value"] == "ok"


@pytest.mark.parametrize("version", [2, 3])
def test_another_number_of_classes_than_the_graphs_is_refused(node, parts, tmp_path, version):
    as_directory(tmp_path / "whole", parts)
    own = parts if version == 3 else as_version_2(tmp_path / "whole")
    as_file(tmp_path / "whole.dsbundle", own)
    classes = with_another_class(own, tmp_path / "other")
    as_file(tmp_path / "other.dsbundle", parts_of(tmp_path / "other"))
    whole, other = node(
        *({"task": "classes", "path": str(tmp_path / f"{file}.dsbundle")} for file in ("whole", "other"))
    )
    assert whole["value"] == "ok"
    assert other["error"] == f"body_0 must give {classes + 1} logits, its shape is 1 x {classes}"


def test_sha256(node):
    data = [bytes(range(256)) * 3 for _ in range(1)] + [b"x" * n for n in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000)]
    (answer,) = node({"task": "sha256", "data": [base64.b64encode(one).decode() for one in data]})
    assert answer["value"] == [hashlib.sha256(one).hexdigest() for one in data]


def test_half_precision(node):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 20000, dtype="uint64").astype("uint32")
    values = bits.view("float32")
    halves = np.arange(1 << 16, dtype="uint16").view("float16").astype("float32")
    ties = (halves[1:31744:7] + halves[:31743:7]) / 2  # half way between two neighbours
    near = rng.normal(0, 1, 5000).astype("float32") * np.exp(rng.uniform(-20, 12, 5000)).astype("float32")
    values = np.concatenate([values[np.isfinite(values)], ties, near, [65504, 65519.996, 65520, 1e-8, -0.0]])
    values = values.astype("float32")
    (answer,) = node({"task": "halves", "values": values.tolist()})
    with np.errstate(over="ignore"):
        expected = values.astype("float16").view("uint16")
    np.testing.assert_array_equal(np.array(answer["value"], "uint16"), expected)


class Recorded:
    """Logits instead of networks, for ``Router``: an image is its number."""

    def __init__(self, logits, gates):
        self.logits, self.gates = logits, gates

    def _at(self, level):
        return lambda x, lend=False: {"logits": self.logits[level][int(np.ravel(x)[0])][None], "features": x}

    entry = body = _at

    def route(self, x, lend=False):
        return {"gate": self.gates[int(np.ravel(x)[0])][None], "features": x}


@pytest.mark.parametrize("classes", [3, 100])
def test_equal_routing(node, classes):
    rng = np.random.default_rng(classes)
    count, bodies, chain = 300, [5e5, 2e6, 7e6, 3e7], (0, 2, 3)
    logits = rng.normal(0, 3, (len(bodies), count, classes)).astype("float32")
    gates = rng.normal(0, 1, (count, len(bodies))).astype("float32")
    spec = RoutingSpec(1e6, 3e4, tuple(bodies), chain)
    router = Router(Recorded(logits, gates), spec, classes)
    manifest = {"madds": {"start": 1e6, "gate": 3e4, "body": bodies}, "policy": {"cascade": chain}}
    cases = [("cascade", [0.3, 0.8]), ("cascade", [0, 0]), ("cascade", [2, 2]), ("gate", [0.0]), ("gate", [0.7])]
    cases += [("gate", [-0.7]), (0, []), (3, [])]
    tasks = [
        {
            **{"task": "route", "manifest": manifest, "policy": policy, "settings": settings},
            **{"logits": logits.tolist(), "gates": gates.tolist()},
        }
        for policy, settings in cases
    ]
    for (policy, settings), answer in zip(cases, node(*tasks), strict=True):
        found = find(policy, spec).run(router, np.arange(count)[:, None], np.array(settings, "float32"))
        levels, madds = np.array(answer["value"]).T
        np.testing.assert_array_equal(levels, found.levels, err_msg=f"{policy} {settings}")
        np.testing.assert_array_equal(madds, found.madds)


@pytest.mark.parametrize("name", SUPERNETS)
def test_equal_settings(node, name):
    manifest = Bundle(zoo.bundle(name)).manifest
    table = BudgetTable.from_json(manifest["policy"]["budget_table"])
    largest = manifest["madds"]["start"] + manifest["madds"]["body"][-1]
    tasks, expected = [], []
    for policy in ("gate", "cascade"):
        low = table.of(policy)[0].madds / largest
        rows = [row.madds / largest for row in table.of(policy)]
        fractions = [low, *np.linspace(low, 1, 23)[1:], *(fraction for fraction in rows if fraction <= 1)]
        short = {key: manifest[key] for key in ("madds", "policy")}
        task = {"task": "settings", "manifest": short, "policy": policy}
        tasks += [{**task, "fractions": asked} for asked in (fractions, [low / 2], [1.01])]
        settings = [table.settings_at(policy, largest, fraction) for fraction in fractions]
        expected += [settings, "out of reach", "at most 1"]
    for answer, wanted in zip(node(*tasks), expected, strict=True):
        if isinstance(wanted, str):
            assert wanted in answer["error"]
        else:
            np.testing.assert_array_equal(np.array(answer["value"], "float32"), wanted)


@pytest.mark.parametrize(
    ("size", "shape", "fraction", "interpolation"),
    [
        ((90, 61), (32, 32, 3), 1, "bilinear"),
        ((61, 90), (28, 28, 1), 0.875, "bilinear"),
        ((75, 75), (32, 32, 3), 0.875, "bicubic"),
        ((20, 13), (32, 24, 3), 1, "bicubic"),
        ((8, 8), (8, 8, 1), 1, "bilinear"),
    ],
)
def test_images_as_pillow_scales_them(node, size, shape, fraction, interpolation):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype="uint8")
    pixels[..., 3] = 255
    task = {"data": base64.b64encode(pixels.tobytes()).decode(), "width": size[0], "height": size[1]}
    recipe = {"crop_fraction": fraction, "interpolation": interpolation}
    (answer,) = node({"task": "input", **task, "shape": shape, "preprocessing": recipe})
    found = np.array(answer["value"]).reshape(shape)
    expected = load_photo(Image.fromarray(pixels[..., :3]), shape, Preprocessing(fraction, interpolation))
    assert np.abs(found - expected.astype(int)).max() <= 1 and (found != expected).mean() < 1e-3


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_damaged_bundles(node, parts, tmp_path, count):
    tasks, expected = [], []
    for i, sample in enumerate(samples(parts, seed=count, count=count)):
        path = tmp_path / f"{i}.dsbundle"
        if isinstance(sample.content, bytes):
            path.write_bytes(sample.content)
        else:
            as_file(path, sample.content)
        tasks.append({"task": "files", "path": str(path)})
        expected.append((sample, refusal(path)))
    answers = node(*tasks, seconds=600)
    for (sample, refused), answer in zip(expected, answers, strict=True):
        if not sample.archive:  # zipfile and the page differ in which of a header's numbers they read
            assert ("error" in answer) == (refused is not None), (sample.what, refused, answer)
        assert answer["ms"] < 10000 and answer["kilobytes"] < 600_000, (sample.what, answer)
    assert sum("error" in answer for answer in answers) > count / 3


def refusal(path):
    """Why Python refuses a bundle; None where it makes every file."""
    try:
        bundle = Bundle(path)
        for name in bundle.files:
            bundle.file(name)
    except ValueError as error:
        return str(error)
    return None


def test_the_damaged_part_is_named(node, parts, tmp_path):
    data = bytearray(parts["kernels.bin"])
    data[5] ^= 1
    as_file(tmp_path / "a.dsbundle", {**parts, "kernels.bin": bytes(data)})
    as_file(tmp_path / "b.dsbundle", rehashed({**parts, "kernels.bin": bytes(data)}))
    (tmp_path / "c.dsbundle").write_bytes(b"no bundle at all")
    a, b, c = node(*({"task": "files", "path": str(tmp_path / f"{name}.dsbundle")} for name in "abc"))
    assert "kernels.bin is damaged" in a["error"]
    assert "is damaged: what its parts make is not the published file" in b["error"]
    assert "not a bundle, or a damaged one" in c["error"]
