"""From photos to the images that a network reads, and from its logits to class names: for Keras and for the runtime.

NumPy alone; Pillow is imported where a photo is decoded or resized.
"""

from ds_keras.photos.checks import check_values, size_error
from ds_keras.photos.classification import Classification, classify
from ds_keras.photos.preprocessing import Preprocessing, load_photo

__all__ = ["Classification", "Preprocessing", "check_values", "classify", "load_photo", "size_error"]
