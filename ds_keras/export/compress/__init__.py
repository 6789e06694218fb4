"""tfmot on stand-alone sub-networks: quantisation-aware training, pruning, clustering and their combinations.

A level becomes an equal tf_keras network (``legacy``), is fine-tuned through ``fit`` (``compress``), and is written as
a TFLite file (``to_tflite``). tf_keras and tfmot are imported on the first call, and leave ``tf.keras`` and the
environment as they were.

Example:
    >>> from ds_keras.export import compress
    >>> network = compress.compress(model, 0, batches, ["prune", "quantize"], epochs=2, steps_per_epoch=400)
    >>> compress.to_tflite(network, "level_0_int8.tflite")
"""

from ds_keras.export.compress.fine_tuning import METHODS, compress
from ds_keras.export.compress.measure import compare
from ds_keras.export.compress.tflite import run, to_tflite
from ds_keras.export.compress.twin import legacy

__all__ = ["METHODS", "compare", "compress", "legacy", "run", "to_tflite"]
