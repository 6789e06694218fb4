"""What compression gains and costs: two files of one level, side by side."""

import gzip
from typing import Any

import numpy as np

from ds_keras.core.timing import paired
from ds_keras.export.compress.tflite import run
from ds_keras.export.flatbuffer import litert


def compare(
    before: bytes, after: bytes, images: np.ndarray, labels: np.ndarray, rounds: int = 200
) -> dict[str, dict[str, Any]]:
    """Accuracy, size and latency of a compressed file beside the file that it was made from.

    Args:
        before: TFLite file, "images" to "logits", as ``export.to_tflite`` writes it.
        after: as ``compress.to_tflite`` writes it.
        images: (count, height, width, channels) whole numbers in [0, 255].
        labels: (count,) integer classes.
        rounds: pairs of the timing: one image, one thread, the files in turn.

    Returns:
        {"before": row, "after": row} of top1 (percent), bytes, gzipped_bytes, ms (median), ratio and ratio_p90 (of
        the latency after over before, pair by pair; None in the first row).

    Example:
        >>> found = compare(float_path.read_bytes(), int8_path.read_bytes(), test.images(), test.labels)
        >>> after = found["after"]
    """
    timing = paired(_once(after, images[:1]), _once(before, images[:1]), rounds, warmup=10)
    rows = {}
    for name, data, ms in (("before", before, timing.b_ms), ("after", after, timing.a_ms)):
        found = np.concatenate([run(data, images[i : i + 500]) for i in range(0, len(images), 500)])
        rows[name] = {
            "top1": round(100 * float((found.argmax(1) == np.asarray(labels)).mean()), 2),
            "bytes": len(data),
            "gzipped_bytes": len(gzip.compress(data, 9, mtime=0)),
            "ms": round(ms, 4),
            "ratio": None if name == "before" else round(timing.ratio, 3),
            "ratio_p90": None if name == "before" else round(timing.ratio_p90, 3),
        }
    return rows


def _once(data: bytes, image: np.ndarray) -> Any:
    """A function that runs a file once, one thread."""
    interpreter = litert("interpreter").Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    (details,) = interpreter.get_input_details()
    interpreter.set_tensor(details["index"], image.astype(details["dtype"]))
    return interpreter.invoke
