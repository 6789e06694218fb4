"""dynamic int8: kernels as int8 codes in a file that computes on float activations.

LiteRT rounds an operator's input when it runs, over the range that it has then, so that no images are needed to prepare
the file. Convolutions and dense layers take int8 kernels so; a depthwise convolution would fall back from XNNPACK to a
slower kernel, and stays as it is.
"""

from collections.abc import Sequence

import numpy as np

from ds_keras.export.flatbuffer import litert, operator_names, repacked, unpacked
from ds_keras.export.kernel import Kernel


def with_codes(data: bytes, kernels: Sequence[Kernel]) -> bytes:
    """Replaces the kernels of a float file by their codes.

    Args:
        data: TFLite file of a network with folded BatchNorm.
        kernels: what the network is made of.

    Returns:
        The new file's bytes.
    """
    schema, graph = litert("schema_py_generated"), unpacked(data)
    known = {kernel.used(None).tobytes(): kernel for kernel in kernels if kernel.shared("dynamic_int8")}
    names = operator_names(graph)
    replaced: dict[int, np.ndarray] = {}
    for subgraph in graph.subgraphs:
        for operator in subgraph.operators:
            if names[operator.opcodeIndex] not in ("CONV_2D", "FULLY_CONNECTED"):
                continue
            tensor = subgraph.tensors[operator.inputs[1]]
            content = graph.buffers[tensor.buffer].data
            kernel = None if content is None else known.get(np.asarray(content, np.uint8).tobytes())
            if kernel is None:
                continue
            scale = kernel.code_scale("dynamic_int8")
            tensor.type = schema.TensorType.INT8
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scale.tolist()
            tensor.quantization.zeroPoint = [0] * len(scale)
            tensor.quantization.quantizedDimension = 0
            replaced[tensor.buffer] = kernel.stored("dynamic_int8")
            if names[operator.opcodeIndex] == "FULLY_CONNECTED":
                operator.builtinOptions.asymmetricQuantizeInputs = True
    for index, values in replaced.items():
        graph.buffers[index].data = np.frombuffer(values.tobytes(), np.uint8)
    return repacked(graph)
