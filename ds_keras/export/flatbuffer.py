"""TFLite files as objects that can be changed, and the operators that they hold."""

from typing import Any

import flatbuffers


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
    return sorted(set(operator_names(unpacked(data))))


def operator_names(graph: Any) -> list[str]:
    """The name of every operator code of a graph."""
    schema, found = litert("schema_py_generated"), []
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    for code in graph.operatorCodes:
        builtin = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        found.append(f"CUSTOM:{(code.customCode or b'').decode()}" if builtin == "CUSTOM" else builtin)
    return found


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
