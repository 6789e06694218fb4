"""What ``bundle.json`` and a file's plan must be: types, ranges, and how their numbers fit together."""

import math
import re
from collections import Counter
from typing import Any

from ds_keras.photos import Preprocessing
from ds_keras.policies.base import RoutingSpec
from ds_keras.policies.budget_table import BudgetTable
from ds_keras.policies.cascade import Cascade, check_chain
from ds_keras.policies.gate import Gate
from ds_keras.policies.registry import check_policy
from ds_keras.runtime.materialize import ALIGNMENT, Copy

FORMAT, FORMAT_VERSION = "ds_keras.bundle", 3
TASK_VERSION = 4  # of bundles that are no classifiers': they name task and outputs, and may copy a kernel repeatedly
MAX_COPIES = 16  # of one kernel in a file of version 4: they bound the file by the size of the kernels
READ = (2, FORMAT_VERSION, TASK_VERSION)
CLASSIFICATION, DETECTION = "classification", "detection"  # tasks
CONFIDENCES = ("entropy", "band", "mean", "least", "margin")  # of a detector in its boxes, see detection.routing
INDEX, KERNELS = "bundle.json", "kernels.bin"
DTYPES = {"float32": 4, "float16": 2, "int8": 1}  # of kernels, bytes
MAX_SIDE, MAX_COUNT, MAX_LEVELS = 1 << 16, 1 << 31, 1000
MAX_CLASSES, MAX_SCORES = 10_000, 1 << 24  # of a detector: classes; boxes x classes


def file_names(levels: int) -> list[str]:
    """The names of a bundle's files: the route, then every level's entry, then every body.

    Args:
        levels: of the bundle.

    Returns:
        "route", "entry_0", ..., "body_0", ...
    """
    return ["route", *(f"{kind}_{level}" for kind in ("entry", "body") for level in range(levels))]


def check_manifest(manifest: Any) -> None:
    """Checks the content of ``bundle.json``.

    Args:
        manifest: decoded JSON.

    Raises:
        ValueError, TypeError, KeyError: a value is missing, has another type, or lies outside its range.
    """
    need(isinstance(manifest, dict), "an object", manifest)
    need(manifest["format"] == FORMAT, f"format {FORMAT!r}", manifest["format"])
    version = manifest["format_version"]
    need(
        type(version) is int and version in READ,
        f"format_version of {READ} (export bundles of another one again, with to_bundle)",
        version,
    )
    need(isinstance(manifest["name"], str), "a name", manifest["name"])
    shape = _shape(manifest["image_shape"], MAX_SIDE)
    need(len(shape) == 3, "image_shape of three numbers", shape)
    Preprocessing.from_json(manifest.get("preprocessing"))  # older bundles have none
    classes = _check_task(manifest)
    licence = manifest["licence"]
    need(licence is None or isinstance(licence, str), "licence: null or a text", licence)
    labels = manifest["labels"]
    plain = isinstance(labels, list) and len(labels) == classes and all(isinstance(label, str) for label in labels)
    need(labels is None or plain, "labels: null, or a name for each class", labels)
    parts = manifest["parts"]
    need(isinstance(parts, dict), "parts: an object", parts)
    for name, part in parts.items():
        need(_is_name(name) and name != INDEX, "names of parts without folders", name)
        whole(part["bytes"], 1, MAX_COUNT)
        _hash(part["sha256"])
    _check_kernels(manifest["kernels"], parts)
    costs = manifest["madds"]
    plain = isinstance(costs["body"], list) and 1 <= len(costs["body"]) <= MAX_LEVELS
    need(plain, f"madds of 1 to {MAX_LEVELS} bodies", costs)
    for value in (costs["start"], costs["gate"], *costs["body"]):
        whole(value, 0, 1 << 53)
    levels, files = len(costs["body"]), manifest["files"]
    need(costs["body"][-1] > 0, "madds of the largest level above 0", costs)
    need(isinstance(files, dict) and set(files) == set(file_names(levels)), "the files of every level", files)
    for file in files.values():
        need(file["part"] in parts, "files whose part is listed", file["part"])
        whole(file["size"], 1, MAX_COUNT)
        _hash(file["sha256"])
    _check_policy(manifest["policy"], levels)
    confidence_of(manifest)


def task_of(manifest: dict[str, Any]) -> str:
    """What the network of a bundle is for: ``CLASSIFICATION`` or ``DETECTION``."""
    return manifest["task"] if manifest["format_version"] == TASK_VERSION else CLASSIFICATION


def confidence_of(manifest: dict[str, Any]) -> str | None:
    """By what the cascade of a detector's bundle goes on; None where it has no cascade that was fitted.

    Args:
        manifest: whose policy and task are checked.

    Returns:
        One of ``CONFIDENCES``, or None.

    Raises:
        ValueError: another one, or one without rows of the cascade in the budget table.
    """
    policy = manifest["policy"]
    found = policy.get("confidence") if task_of(manifest) == DETECTION else None
    if found is not None:
        need(isinstance(found, str) and found in CONFIDENCES, f"confidence of {CONFIDENCES}, or none", found)
        need(policy["budget_table"].get(Cascade.name), "rows of the cascade beside its confidence", None)
    return found


def output_shapes(manifest: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """What every level of a bundle gives for one image.

    Args:
        manifest: checked.

    Returns:
        Shapes by name: {"logits": (classes,)}, or {"boxes": (boxes, 4), "scores": (boxes, classes)}.
    """
    if task_of(manifest) == CLASSIFICATION:
        return {"logits": (manifest["num_classes"],)}
    return {name: tuple(shape) for name, shape in manifest["outputs"].items()}


def _check_task(manifest: dict[str, Any]) -> int:
    """Checks the task and the outputs; the number of classes."""
    if manifest["format_version"] != TASK_VERSION:
        return whole(manifest["num_classes"], 2, MAX_SIDE)
    need(manifest["task"] == DETECTION, f"task {DETECTION!r}", manifest["task"])
    classes, shapes = whole(manifest["num_classes"], 1, MAX_CLASSES), manifest["outputs"]
    need(isinstance(shapes, dict) and set(shapes) == {"boxes", "scores"}, "outputs: boxes and scores", shapes)
    count = _shape(shapes["boxes"], MAX_SCORES)[0]
    need(shapes == {"boxes": [count, 4], "scores": [count, classes]}, "a box and its scores in each row", shapes)
    need(count * classes <= MAX_SCORES, f"at most {MAX_SCORES} scores", shapes)
    return classes


def _check_kernels(kernels: Any, parts: dict[str, Any]) -> None:
    need(kernels["part"] in parts, "kernels whose part is listed", kernels["part"])
    need(kernels["dtype"] in DTYPES, f"dtype of {sorted(DTYPES)}", kernels["dtype"])
    need(isinstance(kernels["index"], dict), "an index of the kernels", kernels["index"])
    end = 0
    for key, (offset, shape) in kernels["index"].items():
        whole(offset, end, MAX_COUNT)
        need(offset % ALIGNMENT == 0, f"kernels that begin at multiples of {ALIGNMENT}", [key, offset])
        need(len(_shape(shape, MAX_COUNT)) in (2, 4), "kernels of two or four axes", [key, shape])
        end = offset + math.prod(shape) * DTYPES[kernels["dtype"]]
        need(end <= parts[kernels["part"]]["bytes"], "kernels that lie within their part", [key, offset, shape])


def _check_policy(policy: Any, levels: int) -> None:
    check_policy(policy["default"], levels)
    chain, settings = check_chain(policy["cascade"], levels), policy["knobs"]
    kinds = {kind.name: kind for kind in (Gate, Cascade)}
    need(isinstance(settings, dict) and set(settings) == set(kinds), "knobs by policy", settings)
    for name, kind in kinds.items():
        _numbers(settings[name], kind.num_settings(chain))
    BudgetTable.from_json(policy["budget_table"], levels, chain)


def routing_spec(manifest: dict[str, Any]) -> RoutingSpec:
    """What policies know of a bundle's network.

    Args:
        manifest: checked.

    Returns:
        The costs of its parts, and its cascade.
    """
    costs = manifest["madds"]
    return RoutingSpec(costs["start"], costs["gate"], tuple(costs["body"]), tuple(manifest["policy"]["cascade"]))


def checked_plan(
    plan: Any, kernels: dict[str, Any], graph: int, factors: int, end: int, repeated: bool = False
) -> tuple[Copy, ...]:
    """A file's copies, after checking that they lie within the kernels, the fold vector and the file.

    Args:
        plan: decoded JSON: a list of objects with the fields of ``Copy``; the offset, which follows, may be left out.
        kernels: of the manifest.
        graph: bytes of the graph.
        factors: length of the fold vector.
        end: byte of the file behind the last copy.
        repeated: whether a kernel may be copied again, up to ``MAX_COPIES`` times, for example with another factor.

    Returns:
        The copies, in the order of the file.

    Raises:
        ValueError, TypeError, KeyError: they do not.
    """
    need(isinstance(plan, list), "a plan that is a list", type(plan).__name__)
    copies, at, limit = [], graph, MAX_COPIES if repeated else 1
    often = "each kernel once" if limit == 1 else f"each kernel at most {limit} times"
    used: Counter[str] = Counter()
    for row in plan:
        follows = -(-at // ALIGNMENT) * ALIGNMENT
        copy = Copy(**{"offset": follows, **row})
        need(copy.kernel in kernels["index"], "kernels of the index", copy.kernel)
        used[copy.kernel] += 1
        need(used[copy.kernel] <= limit, often, copy.kernel)
        full, shape = kernels["index"][copy.kernel][1], _shape(copy.shape, MAX_COUNT)
        need(len(shape) == len(full) == len(copy.begin), "copies with the axes of their kernel", row)
        for side, begin, length in zip(full, copy.begin, shape, strict=True):
            need(whole(begin, 0, side) + length <= side, "copies within their kernel", row)
        whole(copy.axis, 0, len(shape) - 1)
        if copy.factor is not None:
            need(kernels["dtype"] != "int8", "no factors for int8 codes, whose scales hold them", row)
            need(whole(copy.factor, 0, factors) + shape[copy.axis] <= factors, "factors in the fold vector", row)
        need(whole(copy.offset, at, end) == follows, "copies one behind another", row)
        at = copy.offset + math.prod(shape) * DTYPES[kernels["dtype"]]
        copies.append(copy._replace(begin=tuple(copy.begin), shape=shape))
    need(at == end, f"a plan that ends with the kernels, at {end}", at)
    return tuple(copies)


def need(condition: bool, what: str, received: Any) -> None:
    """Refuses what a bundle must not have: ``ValueError`` says what it must have, and what was received."""
    if not condition:
        text = repr(received)
        raise ValueError(f"it must have {what}, received {text if len(text) < 200 else text[:200] + '...'}")


def whole(value: Any, low: int, high: int) -> int:
    """A whole number in [low, high]; ``ValueError`` for anything else."""
    need(type(value) is int and low <= value <= high, f"whole numbers in [{low}, {high}]", value)
    return value


def _numbers(values: Any, count: int) -> None:
    plain = isinstance(values, list) and all(type(v) in (int, float) and math.isfinite(v) for v in values)
    need(plain and len(values) == count, f"lists of {count} finite numbers", values)


def _shape(value: Any, high: int) -> tuple[int, ...]:
    need(isinstance(value, list | tuple) and 0 < len(value) <= 4, "shapes of up to four axes", value)
    return tuple(whole(side, 1, high) for side in value)


def _hash(value: Any) -> None:
    need(isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None, "sha256 hashes", value)


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name) is not None
