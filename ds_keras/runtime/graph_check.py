"""Checks the graph of a TFLite file before LiteRT opens it, which trusts what it reads. numpy and flatbuffers alone.

The hashes of a bundle find damage, not what was made to look whole. With such a file LiteRT can end the process, or
reserve whatever a shape says.
"""

import struct
from typing import Any

import numpy as np

MAX_MEMORY = 1 << 30  # bytes of all that a network computes, besides what it makes of its file: unpacked kernels
UNPACKED = 8  # times the file, at most
BEHIND = 2  # smallest offset of a constant that lies behind the graph
ELSEWHERE = ("CUSTOM", "IF", "WHILE", "CALL", "CALL_ONCE", "DELEGATE")  # what they run is not in the graph
ABSENT = -1  # instead of a tensor
BIASED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")  # which may go without their third input
POSITIVE = {  # options without which LiteRT would divide by zero
    "CONV_2D": ("Conv2DOptions", "StrideW StrideH DilationWFactor DilationHFactor"),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", "StrideW StrideH DilationWFactor DilationHFactor DepthMultiplier"),
    "AVERAGE_POOL_2D": ("Pool2DOptions", "StrideW StrideH FilterWidth FilterHeight"),
    "MAX_POOL_2D": ("Pool2DOptions", "StrideW StrideH FilterWidth FilterHeight"),
}
ERRORS = (ValueError, TypeError, IndexError, OverflowError, AttributeError, struct.error)


def check_graph(data: bytes) -> None:
    """Checks a file of one graph: indices, sizes of tensors and constants, the order of operators, their strides.

    Args:
        data: TFLite file.

    Raises:
        ValueError: what LiteRT should not see.
    """
    try:
        _check(data)
    except ERRORS as error:
        raise ValueError(f"its graph is damaged: {error}") from None


def output_shape(data: bytes, name: str) -> tuple[int, ...]:
    """The shape of an output of the signature.

    Args:
        data: TFLite file, or its graph alone.
        name: of the output.

    Raises:
        ValueError: there is no such output, or the graph is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(data)
        signature = model.SignatureDefs(0)
        found = [signature.Outputs(i) for i in range(signature.OutputsLength())]
        index = next(output.TensorIndex() for output in found if output.Name() == name.encode())
        _indices([index], range(model.Subgraphs(0).TensorsLength()))
        return tuple(model.Subgraphs(0).Tensors(index).ShapeAsNumpy().tolist())
    except (*ERRORS, StopIteration) as error:
        raise ValueError(f"its graph is damaged: {error}") from None


def _check(data: bytes) -> None:
    from ai_edge_litert import schema_py_generated as schema

    _expect(data[4:8] == b"TFL3", "it does not begin as a TFLite file")
    model = schema.Model.GetRootAs(data)
    _expect(
        model.SubgraphsLength() == 1 and model.SignatureDefsLength() == 1, "it must have one graph and one signature"
    )
    graph = model.Subgraphs(0)
    constant = _check_tensors(model, graph, data, schema)
    inputs, outputs = _indices(graph.InputsAsNumpy(), constant), _indices(graph.OutputsAsNumpy(), constant)
    _expect(len(inputs) == 1 and len(outputs) > 0, "it must have one input, and outputs")
    signature = model.SignatureDefs(0)
    named = [signature.Outputs(i).TensorIndex() for i in range(signature.OutputsLength())]
    takes = [signature.Inputs(i).TensorIndex() for i in range(signature.InputsLength())]
    own = signature.SubgraphIndex() == 0 and takes == inputs and set(named) == set(outputs)
    _expect(own, "its signature names other tensors than its graph")
    known = np.array(constant)
    _expect(not bool(known[inputs].any()), "its input is a constant")
    known[inputs] = True
    _check_operators(model, graph, known, schema)
    _expect(bool(known[outputs].all()), "nothing makes its outputs")


def _check_tensors(model: Any, graph: Any, data: bytes, schema: Any) -> list[bool]:
    """Checks all tensors; whether each is a constant."""
    kinds = schema.TensorType
    sizes = {kinds.FLOAT32: 4, kinds.FLOAT16: 2, kinds.INT32: 4, kinds.INT64: 8, kinds.UINT8: 1, kinds.INT8: 1}
    sizes[kinds.BOOL] = 1
    constant, memory, most = [], 0, MAX_MEMORY + UNPACKED * len(data)
    for i in range(graph.TensorsLength()):
        tensor, shape = graph.Tensors(i), []
        if not tensor.ShapeIsNone():
            shape = tensor.ShapeAsNumpy().tolist()
        _expect(all(n >= 0 for n in shape), f"tensor {i} has shape {shape}")
        _expect(tensor.Type() in sizes, f"tensor {i} has type {tensor.Type()}")
        _expect(not tensor.IsVariable() and tensor.Sparsity() is None, f"tensor {i} is no plain tensor")
        size = int(np.prod([sizes[tensor.Type()], *shape], dtype=object))
        _expect(tensor.Buffer() < model.BuffersLength(), f"tensor {i} has buffer {tensor.Buffer()}")
        buffer = model.Buffers(tensor.Buffer())
        held = buffer.DataLength()
        if buffer.Offset() >= BEHIND:
            _expect(held == 0 and buffer.Offset() + buffer.Size() <= len(data), f"tensor {i} lies outside the file")
            held = buffer.Size()
        _expect(held in (0, size), f"tensor {i} of {size} bytes has {held}")
        constant.append(held > 0)
        memory += 0 if held else size
        _expect(memory <= most, f"its tensors take more than {most} bytes")
        _check_scales(tensor.Quantization(), shape, i)
    return constant


def _check_scales(scales: Any, shape: list[int], i: int) -> None:
    if scales is None or scales.ScaleLength() == 0:
        return
    count, axis = scales.ScaleLength(), scales.QuantizedDimension()
    of_channels = 0 <= axis < len(shape) and count == shape[axis]
    fits = (count == 1 or of_channels) and scales.ZeroPointLength() in (0, count)
    _expect(fits, f"tensor {i} of shape {shape} has {count} scales")


def _check_operators(model: Any, graph: Any, known: np.ndarray, schema: Any) -> None:
    """Each operator reads what is known before it, and makes what is not."""
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    kinds = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    codes = [names.get(max(kind.BuiltinCode(), kind.DeprecatedBuiltinCode())) for kind in kinds]
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        _expect(operator.OpcodeIndex() < len(codes), f"operator {i} has code {operator.OpcodeIndex()}")
        name = codes[operator.OpcodeIndex()]
        _expect(name is not None and name not in ELSEWHERE, f"operator {i} is {name}")
        reads = operator.InputsAsNumpy().tolist()
        if name in BIASED and reads[2:] == [ABSENT]:
            reads = reads[:2]
        made = _indices(operator.OutputsAsNumpy(), known)
        _expect(bool(known[_indices(reads, known)].all()), f"operator {i} reads what nothing makes")
        _expect(not known[made].any() and len(set(made)) == len(made), f"operator {i} makes what is there")
        known[made] = True
        if name in POSITIVE:
            kind, fields = POSITIVE[name]
            _expect(
                operator.BuiltinOptionsType() == getattr(schema.BuiltinOptions, kind), f"operator {i} has no {kind}"
            )
            options, table = getattr(schema, kind)(), operator.BuiltinOptions()
            options.Init(table.Bytes, table.Pos)
            _expect(all(getattr(options, field)() > 0 for field in fields.split()), f"operator {i} has a stride of 0")


def _indices(found: Any, among: Any) -> list[int]:
    found = [int(i) for i in found]
    _expect(all(0 <= i < len(among) for i in found), f"it has {len(among)} tensors, and uses {found}")
    return found


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
