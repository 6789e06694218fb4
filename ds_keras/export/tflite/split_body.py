"""Splits the body from a level's entry: the part of a TFLite graph behind the features."""

from typing import Any

from ds_keras.export.flatbuffer import repacked, unpacked


def split_body(entry: bytes) -> bytes:
    """The body that an entry holds, as a file of its own; that is faster than to convert it again.

    Args:
        entry: TFLite file, images to "features" and others.

    Returns:
        The file of the same operators from "features" to the others, without metadata.

    Raises:
        ValueError: these do not depend on the images by the features alone.
    """
    graph = unpacked(entry)
    (signature,), (subgraph,) = graph.signatureDefs, graph.subgraphs
    features = next(output.tensorIndex for output in signature.outputs if output.name == b"features")
    others = [output for output in signature.outputs if output.name != b"features"]
    results = [index for index in subgraph.outputs if any(index == output.tensorIndex for output in others)]
    makers = {index: operator for operator in subgraph.operators for index in operator.outputs}
    behind, used, waiting = set(), {features, *results}, list(results)
    while waiting:
        operator = makers.get(waiting.pop())
        if operator is None or id(operator) in behind:
            continue
        behind.add(id(operator))
        own = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]  # -1: an input that is left out
        used.update(own)
        waiting += [index for index in own if index != features]
    if used & set(subgraph.inputs):
        names = " and ".join(output.name.decode() for output in others)
        raise ValueError(f"entry must give {names} that depend on the images by the features alone")
    subgraph.operators = [operator for operator in subgraph.operators if id(operator) in behind]
    (source,) = signature.inputs
    source.name, source.tensorIndex = b"features", features
    signature.outputs = others
    subgraph.inputs, subgraph.outputs = [features], results
    _drop_unused(graph, sorted(used))
    return repacked(graph)


def _drop_unused(graph: Any, tensors: list[int]) -> None:
    """Leaves these tensors, and what they and the operators refer to."""
    (signature,), (subgraph,) = graph.signatureDefs, graph.subgraphs
    place = {old: new for new, old in enumerate(tensors)} | {-1: -1}
    subgraph.tensors = [subgraph.tensors[index] for index in tensors]
    subgraph.inputs, subgraph.outputs = ([place[index] for index in own] for own in (subgraph.inputs, subgraph.outputs))
    for entry in (*signature.inputs, *signature.outputs):
        entry.tensorIndex = place[entry.tensorIndex]
    for operator in subgraph.operators:
        operator.inputs = [place[index] for index in operator.inputs]
        operator.outputs = [place[index] for index in operator.outputs]
    codes = sorted({operator.opcodeIndex for operator in subgraph.operators})
    graph.operatorCodes = [graph.operatorCodes[code] for code in codes]
    for operator in subgraph.operators:
        operator.opcodeIndex = codes.index(operator.opcodeIndex)
    holders = [*subgraph.tensors, *(graph.metadata or [])]
    buffers = sorted({0, *(holder.buffer for holder in holders)})  # buffer 0 is the empty one
    graph.buffers = [graph.buffers[buffer] for buffer in buffers]
    for holder in holders:
        holder.buffer = buffers.index(holder.buffer)
