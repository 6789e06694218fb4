"""What every network of the package shares: images of one size in, classes with labels out."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from ds_keras import moved, photos
from ds_keras.core.rescale import Rescale
from ds_keras.core.sliceable import Shape


class ImageModel(keras.Model):
    """Base class: normalises images and names classes.

    Args:
        num_classes: size of the classifier.
        input_shape: (height, width, channels) of the images. Training takes other heights and widths too.
        mean: per channel, or one for all, in [0, 255].
        std: likewise.
        labels: class names, or None.
        preprocessing: how ``classify`` makes images of photos: a ``Preprocessing``, or its entries; default all of the
            tighter side, bilinear, as ``ds_keras.data`` does.
        name: of the model.
        **kwargs: of ``keras.Model``.

    Raises:
        ValueError: bad arguments.
    """

    built: bool
    least_classes = 2
    trainer = "SupernetTrainer"  # of ds_keras.training
    without_levels: str | None = None  # where a network has no slice levels: what ``require_levels`` says of it

    def __init__(
        self,
        num_classes: int,
        input_shape: Sequence[int],
        mean: Any = 127.5,
        std: Any = 127.5,
        labels: list[str] | None = None,
        preprocessing: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, autocast=False, **kwargs)  # images are cast after they are normalised
        if self.variable_dtype != "float32":
            raise ValueError(
                f"dtype must be 'float32' or a mixed policy, received {self.dtype_policy.name!r} (without dtype= it is "
                "Keras' own, keras.config.dtype_policy())"
            )
        if not isinstance(num_classes, int) or num_classes < self.least_classes:
            raise ValueError(
                f"num_classes must be an integer of at least {self.least_classes}, received {num_classes!r}"
            )
        if len(input_shape) != 3 or not all(int(n) > 0 for n in input_shape):
            raise ValueError(f"input_shape must be (height, width, channels), received {tuple(input_shape)!r}")
        labels = None if labels is None else list(labels)
        if labels is not None and (len(labels) != num_classes or not all(isinstance(name, str) for name in labels)):
            raise ValueError(f"labels must name num_classes={num_classes} classes, received {labels!r}")
        self.num_classes = num_classes
        height, width, channels = (int(n) for n in input_shape)
        self.image_shape = (height, width, channels)
        self.preprocessing = photos.Preprocessing.from_json(preprocessing)
        self.mean, self.std = _floats(mean), _floats(std)
        self.labels = None if labels is None else list(map(str, labels))  # plain strings, of numpy's too
        for argument, value in {"mean": self.mean, "std": self.std}.items():
            array = np.asarray(value)
            if array.shape not in ((), (1,), (self.image_shape[-1],)) or not np.all(np.isfinite(array)):
                raise ValueError(f"{argument} must be a number or one for each channel, received {value!r}")
        if not np.all(np.asarray(self.std) > 0):
            raise ValueError(f"std must be positive, received {std!r}")
        scale, offset = 1 / np.asarray(self.std), -np.asarray(self.mean) / np.asarray(self.std)
        self.rescale = Rescale(_floats(scale), _floats(offset), name="normalize", dtype=self.variable_dtype)

    @property
    def input_shape(self) -> Shape:
        """(None, height, width, channels)."""
        return (None, *self.image_shape)

    def classify(self, images: Any, top: int = 5, **how: Any) -> list[photos.Classification]:
        """Names what is on photos, of any size.

        They are decoded, turned upright, scaled and cropped as the images were that the network was measured on (see
        ``preprocessing``); resized by Pillow, which differs from TensorFlow in fewer than one value in a thousand, by 1
        of 255. No graph is traced, so that the first photos are answered at once; for thousands of images
        ``predict_routed`` is faster.

        Args:
            images: a photo, or a list of them: path, encoded bytes, PIL image, or array (height, width) or (height,
                width, channels) of grey or RGB, with or without transparency: uint8, uint16, or numbers in [0, 255]. Or
                an array of several, (count, height, width, channels).
            top: classes to name for each, at most.
            **how: of a network with levels: ``policy`` ("gate", "cascade" or a level; default ``default_policy``) and
                ``budget`` (average MAdds as a fraction of the largest level's).

        Returns:
            For each photo a ``Classification(labels, probabilities, level, madds)``.

        Raises:
            ValueError: a photo that cannot be read, or a bad argument.
            FileNotFoundError: no such file.

        Example:
            >>> print(model.classify("cat.jpg")[0].label)
        """
        return photos.classify(
            images, lambda x: self.run_photos(x, **how), self.image_shape, self.preprocessing, self.labels, top
        )

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """A trainer of ``ds_keras.training`` trains the network, whose loss is not one of ``compile``.

        Raises:
            ValueError: always; the message has the lines that train.
        """
        raise ValueError(
            f"a {type(self).__name__} is trained by a trainer, not by model.fit:\n"
            f"    trainer = ds_keras.training.{self.trainer}(model)\n"
            "    trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9))\n"
            "    trainer.fit(batches)  # as model.fit; batches of images in [0, 255] and integer labels"
        )

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """As Keras', of the built network, with ``output_shapes``."""
        self.build()
        shapes = self.output_shapes()
        kept = {layer: dict(vars(layer)) for layer in shapes}
        for layer, shape in shapes.items():  # where Keras looks for them
            vars(layer).update(output_shape=shape, _build_shapes_dict={"input_shape": shape})
        try:
            super().summary(*args, **kwargs)
        finally:
            for layer, attributes in kept.items():
                vars(layer).clear()
                vars(layer).update(attributes)

    def output_shapes(self) -> dict[keras.layers.Layer, Shape]:
        """(None, height, width, channels) or (None, channels) that each layer gives, for ``summary``."""
        return {}

    def run_photos(self, x: np.ndarray) -> tuple[Any, Any, Any]:
        """Runs images for ``classify``.

        Args:
            x: (count, height, width, channels) of ``input_shape``.

        Returns:
            Logits (count, classes), levels (count,) or None, MAdds (count,).
        """
        raise TypeError(f"{type(self).__name__} does not define run_photos()")

    def check_input(self, x: Any) -> tf.Tensor:
        """Images of ``input_shape`` as a tensor; what is not known before a graph runs is not checked.

        Args:
            x: (batch, height, width, channels), uint8 or float in [0, 255].

        Returns:
            The tensor, of ``x``'s dtype.

        Raises:
            ValueError: other shape.
        """
        x = self.check_images(x)
        self.check_size(x)
        return x

    def check_size(self, x: tf.Tensor) -> None:
        """Refuses images of another size than ``input_shape``.

        Args:
            x: (batch, height, width, channels).

        Raises:
            ValueError: other height, width or channels.
        """
        if any(found not in (None, side) for found, side in zip(x.shape[1:], self.image_shape, strict=True)):
            raise photos.size_error(self.image_shape, x, "model")

    def check_images(self, x: Any) -> tf.Tensor:
        """Images as a tensor, of any height and width: training may take smaller ones.

        Args:
            x: (batch, height, width, channels), uint8 or float in [0, 255].

        Returns:
            The tensor, of ``x``'s dtype.

        Raises:
            ValueError: other shape.
        """
        x = tf.convert_to_tensor(x)
        channels = self.image_shape[-1]
        if x.shape.rank != 4 or x.shape[-1] != channels:
            raise ValueError(f"x must have shape (batch, height, width, {channels}), received {tuple(x.shape)}")
        return x

    def image_set(self, x: Any, batch_size: int) -> np.ndarray:
        """A set of images that is run in batches, and on which multiply-adds are counted.

        Args:
            x: (count, height, width, channels) images in [0, 255], of the model's ``input_shape``.
            batch_size: images at a time.

        Returns:
            The array.

        Raises:
            ValueError: bad batch size, other shape, no numbers, or none that are finite.
        """
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ValueError(f"batch_size must be a positive integer, received {batch_size!r}")
        self.build()
        x = np.asarray(x)
        if x.shape[1:] != self.image_shape or x.dtype.kind not in "uif":
            raise photos.size_error(self.image_shape, x, "model")
        photos.check_values(x)
        return x

    def clone(self, dtype: Any = None) -> "ImageModel":
        """A copy with its own weights.

        Args:
            dtype: Keras dtype policy of the copy; default the model's.
        """
        twin = type(self)(**{**self.get_config(), "dtype": dtype or self.dtype_policy})
        twin.build()
        if self.built:
            twin.set_weights(self.get_weights())
        return twin

    def load_weights(self, filepath: str | os.PathLike, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """As ``keras.Model.load_weights``; builds the network first, and reads the weights of its trainer too.

        Args:
            filepath: that ``save_weights`` of the network wrote, or of a trainer of it.
            skip_mismatch: see Keras.
            **kwargs: see Keras.
        """
        self.build()
        load = _Trained(self).load_weights if _of_trainer(filepath) else super().load_weights
        load(filepath, skip_mismatch=skip_mismatch, **kwargs)

    def export(
        self,
        filepath: str | os.PathLike,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """A SavedModel that routes as ``model(x)`` does, by ``keras.Model.export``.

        Args:
            filepath: directory to write.
            format: "tf_saved_model". Keras' writers of the other formats make files of all levels that cannot run.
            verbose: see Keras.
            input_signature: default float32 images of the model's size, any number of them.
            **kwargs: see Keras.

        Raises:
            ValueError: another format; the message says which function of ``ds_keras.export`` writes it.
        """
        if format != "tf_saved_model":
            raise ValueError(
                f"format of {type(self).__name__}.export must be 'tf_saved_model', received {format!r}; "
                f"{self.exporters}"
            )
        self.build()
        if input_signature is None:
            input_signature = [tf.TensorSpec((None, *self.image_shape), "float32")]
        super().export(filepath, format=format, verbose=verbose, input_signature=input_signature, **kwargs)

    @property
    def exporters(self) -> str:
        """What writes files of a single graph."""
        return "for files call ds_keras.export.to_tflite(model, directory)"

    def in_float32(self) -> "ImageModel":
        """The model itself, or a copy in float32 where it computes in another precision: for files."""
        return self if self.dtype_policy.name == "float32" else self.clone("float32")

    @property
    def settings(self) -> list[keras.Variable]:
        """Variables that are set by what was measured on the classes, not trained."""
        return []

    knobs = moved.alias("ImageModel.knobs", "settings")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, as plain data."""
        return {
            "num_classes": self.num_classes,
            "input_shape": list(self.image_shape),
            "mean": _floats(self.mean),
            "std": _floats(self.std),
            "labels": None if self.labels is None else list(self.labels),
            "preprocessing": self.preprocessing.to_json(),
            "name": self.name,
            "dtype": self.dtype_policy.name,
        }


class _Trained(keras.Model):
    """Stands for a trainer where its file is read: it has the network, as a trainer has, and nothing else."""

    def __init__(self, network: ImageModel):
        super().__init__()
        self.network = network
        self.built = True

    def load_own_variables(self, store: Any) -> None:
        """What a trainer counts is not the network's."""


def _of_trainer(filepath: str | os.PathLike) -> bool:
    """Whether a file of weights holds a network inside another model, as a trainer's does."""
    if not os.fspath(filepath).endswith(".weights.h5") or not os.path.isfile(filepath):
        return False
    with contextlib.suppress(OSError), h5py.File(filepath) as file:  # Keras says what it cannot read
        inner = file.get("layers", {})
        return any("layers" in inner[name] for name in inner)
    return False


def _floats(value: Any) -> Any:
    array = np.asarray(value, "float64")
    return float(array) if array.ndim == 0 else [float(v) for v in array]
