"""One ONNX graph of all levels: the shared start, every kernel once, and conditionals that pick a level's body.

Each body is converted alone, as a static network with BatchNorm folded. Its kernels are then taken out, recognised by
their bytes as in ``pack``, and become slices of shared ones, times the factors of the level's BatchNorm. ONNX Runtime
folds these constants when it loads the file, so that a branch runs the same operators as the static file of its level.
"""

import functools
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ds_keras.export.kernel import stored_shapes
from ds_keras.export.onnx.convert import convert, package
from ds_keras.export.subnet import Kernel, folded_body, route_network
from ds_keras.routing.execute import relative_costs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

    from ds_keras.models.supernet import Supernet

SMALLEST = 512  # bytes of a kernel that is worth a slice and a product instead of a constant of its own
GATE_SHIFT = "gate_shift"  # (levels,) what is taken off the gate's logits


def every_level(model: "Supernet", gate: bool) -> "ModelProto":
    """One graph that holds every level.

    Args:
        model: supernet.
        gate: the gate chooses the level, of one image; else it is an input.

    Returns:
        A model from "images", and "level" (scalar int32) without a gate, to "logits", and "level" with one.
    """
    onnx = package("onnx")
    batch = 1 if gate else None
    route = route_network(model, fold_batch_norm=True)
    start = route if gate else keras.Model(route.inputs, {"features": route.output["features"]})
    result = convert(start, batch, channels_first=True)
    graph = result.graph
    _rename(graph, "start", keep=("images", "features", "gate"))
    levels = [folded_body(model, level) for level in range(len(model.levels))]
    shapes = stored_shapes([kernel for _, kernels in levels for kernel in kernels])
    bodies = []
    for level, (network, kernels) in enumerate(levels):
        body = convert(network, batch, channels_first=True).graph
        _share(graph, body, kernels, shapes)
        _rename(body, str(level), keep=("features", *(shared.name for shared in graph.initializer)))
        del body.input[:]  # a branch reads the values of the outer graph by name
        bodies.append(body)
    del graph.output[:]
    if gate:
        kind = onnx.TensorProto.INT64
        graph.initializer.append(onnx.numpy_helper.from_array(gate_shift(model), GATE_SHIFT))
        graph.node.append(onnx.helper.make_node("Sub", ["gate", GATE_SHIFT], ["gate_logits"]))
        graph.node.append(onnx.helper.make_node("ArgMax", ["gate_logits"], ["level"], axis=1, keepdims=0))
        graph.output.append(onnx.helper.make_tensor_value_info("level", kind, [1]))
    else:
        kind = onnx.TensorProto.INT32
        graph.input.append(onnx.helper.make_tensor_value_info("level", kind, []))
    _choose(graph, bodies, 0, kind)
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [batch or "batch", model.num_classes])
    graph.node[-1].output[0] = "logits"
    graph.output.insert(0, logits)
    return result


def gate_shift(model: "Supernet") -> np.ndarray:
    """What the budget takes off the gate's logits, as ``routing.shifted`` does: (levels,) float32."""
    return np.float32(model.gate_shift.numpy()) * relative_costs(model).astype("float32")


def _choose(graph: "GraphProto", bodies: Sequence["GraphProto"], first: int, kind: int) -> None:
    """Appends a conditional that halves the levels: ``first`` is the level of ``bodies[0]``."""
    helper = package("onnx.helper")
    middle, branches = len(bodies) // 2, []
    limit, low, name = f"limit_{first + middle}", f"below_{first + middle}", f"logits_{first}_{first + len(bodies)}"
    for begin, part in ((first, bodies[:middle]), (first + middle, bodies[middle:])):
        branch = part[0]
        if len(part) > 1:
            branch = helper.make_graph([], f"levels_{begin}_{begin + len(part)}", [], [])
            _choose(branch, part, begin, kind)
            branch.output.append(helper.make_empty_tensor_value_info(branch.node[-1].output[0]))
        branches.append(branch)
    graph.initializer.append(helper.make_tensor(limit, kind, [], [first + middle]))
    graph.node.append(helper.make_node("Less", ["level", limit], [low]))
    graph.node.append(helper.make_node("If", [low], [name], then_branch=branches[0], else_branch=branches[1]))


def _share(
    graph: "GraphProto", body: "GraphProto", kernels: Sequence[Kernel], shapes: dict[str, tuple[int, ...]]
) -> None:
    """Replaces the kernels of a body by slices of those of the outer graph, which get there on first use."""
    numpy_helper = package("onnx.numpy_helper")
    known: dict[tuple[tuple[int, ...], bytes], list[Kernel]] = {}
    kept: list[Any] = []
    nodes: list[Any] = []
    whole: dict[str, str] = {}
    for kernel in kernels:
        values = _values(kernel, kernel.sizes)
        if kernel.factor is not None:
            values = values * _factor(kernel.factor)
        known.setdefault((values.shape, values.tobytes()), []).append(kernel)
    for constant in body.initializer:
        values = numpy_helper.to_array(constant)
        equal = known.get((values.shape, values.tobytes())) if values.nbytes >= SMALLEST else None
        if not equal:
            kept.append(constant)
            continue
        kernel = equal.pop()  # each kernel once, where several have the same values
        _add(graph, kernel.key, functools.partial(_values, kernel, shapes[kernel.key]))
        made, factor = _slice(graph, kernel, shapes[kernel.key], constant.name)
        kept += [numpy_helper.from_array(factor, made[-1].input[1])] if factor is not None else []
        nodes += made
        if not made:
            whole[constant.name] = kernel.key
    nodes += body.node
    for node in nodes:
        node.input[:] = [whole.get(name, name) for name in node.input]
    for field, parts in ((body.initializer, kept), (body.node, nodes)):
        copies = [type(part).FromString(part.SerializeToString()) for part in parts]
        del field[:]
        field.extend(copies)


def _slice(graph: "GraphProto", kernel: Kernel, stored: Sequence[int], name: str) -> tuple[list, np.ndarray | None]:
    """The nodes that make a level's kernel, ``name``, of the shared one, and the factors that the last one reads."""
    make_node, nodes, source = package("onnx.helper").make_node, [], kernel.key
    axes = _order(kernel)
    begins = [(stored[a] - kernel.sizes[a]) // 2 if len(axes) == 4 and a < 2 else 0 for a in axes]
    cut = [i for i, a in enumerate(axes) if kernel.sizes[a] != stored[a]]
    if cut:
        ends = [begins[i] + kernel.sizes[axes[i]] for i in cut]
        inputs = [_integers(graph, values) for values in ([begins[i] for i in cut], ends, cut)]
        nodes.append(make_node("Slice", [source, *inputs], [f"{name}/slice" if kernel.factor is not None else name]))
        source = nodes[-1].output[0]
    if kernel.factor is None:
        return nodes, None
    return [*nodes, make_node("Mul", [source, f"{name}/factor"], [name])], _factor(kernel.factor)


def _order(kernel: Kernel) -> tuple[int, ...]:
    """Keras' axes in ONNX's order: (outputs, inputs, height, width), and depthwise (channels, 1, height, width)."""
    return (0, 1) if len(kernel.sizes) == 2 else (2, 3, 0, 1) if kernel.depthwise else (3, 2, 0, 1)


def _values(kernel: Kernel, sizes: Sequence[int]) -> np.ndarray:
    """The part of these sizes of a kernel's weight, unfolded, in ONNX's order of axes."""
    values = keras.ops.convert_to_numpy(kernel.layer.active_slice(kernel.name, sizes))
    return np.ascontiguousarray(values.transpose(_order(kernel)))


def _factor(factors: np.ndarray) -> np.ndarray:
    """The factors of the output channels, for a product with the kernel."""
    return factors.reshape(-1, 1, 1, 1)


def _integers(graph: "GraphProto", values: Sequence[int]) -> str:
    """Name of an int64 vector of the outer graph: every slice of the same bounds reads the same one."""
    name = "_".join(map(str, ("int", *values)))
    _add(graph, name, lambda: np.array(values, "int64"))
    return name


def _add(graph: "GraphProto", name: str, values: Callable[[], np.ndarray]) -> None:
    """Adds an initializer that is not there yet."""
    if all(known.name != name for known in graph.initializer):
        graph.initializer.append(package("onnx.numpy_helper").from_array(values(), name))


def _rename(graph: "GraphProto", prefix: str, keep: Collection[str]) -> None:
    """Gives every value but those of ``keep`` a short name that no other part of the file has."""
    names = {"": "", **{name: name for name in keep}}

    def short(name: str) -> str:
        return names.setdefault(name, f"{prefix}/{len(names)}")

    for node in graph.node:
        node.name = ""
        node.input[:], node.output[:] = map(short, node.input), map(short, node.output)
    for value in (*graph.initializer, *graph.input, *graph.output):
        value.name = short(value.name)
    del graph.value_info[:]
