"""TFLite files as objects that can be changed, and the operators that they hold."""

import functools
from typing import Any

import flatbuffers


def read(data: bytes) -> Any:
    """A TFLite file's graph, to read a few things of it: ``Model`` of LiteRT's schema. To unpack all takes longer."""
    return litert("schema_py_generated").Model.GetRootAs(data, 0)


def unpacked(data: bytes) -> Any:
    """A TFLite file's graph as objects that can be changed: ``ModelT`` of LiteRT's schema."""
    return litert("schema_py_generated").ModelT.InitFromPackedBuf(data, 0)


def repacked(graph: Any) -> bytes:
    """The flatbuffer of a graph."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operators(data: bytes) -> list[str]:
    """The operators of a TFLite file, by name; custom ones (Flex among them) as ``CUSTOM:<name>``.

    Args:
        data: the file's bytes.

    Returns:
        Sorted distinct names.
    """
    model = read(data)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    return sorted({_name(code.BuiltinCode(), code.DeprecatedBuiltinCode(), code.CustomCode()) for code in codes})


def operator_names(graph: Any) -> list[str]:
    """The name of every operator code of a graph."""
    return [_name(code.builtinCode, code.deprecatedBuiltinCode, code.customCode) for code in graph.operatorCodes]


def _name(builtin: int, deprecated: int, custom: bytes | None) -> str:
    name = _builtin_names()[max(builtin, deprecated)]
    return f"CUSTOM:{(custom or b'').decode()}" if name == "CUSTOM" else name


@functools.cache
def _builtin_names() -> dict[int, str]:
    operators = vars(litert("schema_py_generated").BuiltinOperator)
    return {value: name for name, value in operators.items() if not name.startswith("_")}


def float_operators(data: bytes) -> list[str]:
    """The operators of a TFLite file that read float numbers, or write them otherwise than by DEQUANTIZE.

    Args:
        data: the file's bytes.

    Returns:
        Sorted distinct names: none for a file that computes in integers alone.
    """
    schema, graph = litert("schema_py_generated"), unpacked(data)
    kinds = {schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.FLOAT64}
    found, names = set(), operator_names(graph)
    for subgraph in graph.subgraphs:
        for operator in subgraph.operators:
            name = names[operator.opcodeIndex]
            used = operator.inputs if name == "DEQUANTIZE" else [*operator.inputs, *operator.outputs]
            if any(index >= 0 and subgraph.tensors[index].type in kinds for index in used):
                found.add(name)
    return sorted(found)


def check_operators(data: bytes, name: str) -> None:
    """Refuses a file with operators that LiteRT does not run alone: custom ones, and variables.

    Args:
        data: TFLite file.
        name: of its network.

    Raises:
        RuntimeError: it has such an operator.
    """
    bad = [found for found in operators(data) if found.startswith(("CUSTOM", "VAR_HANDLE", "READ_VARIABLE"))]
    if bad:
        raise RuntimeError(f"{name}: the converted file holds operators that LiteRT does not run alone: {bad}")


def litert(module: str) -> Any:
    """A module of ``ai_edge_litert``; an error that says what to install where it is missing."""
    try:
        return __import__(f"ai_edge_litert.{module}", fromlist=[module])
    except ImportError as error:
        raise ImportError("exporting to TFLite runs every file in LiteRT: pip install 'ds_keras[runtime]'") from error
