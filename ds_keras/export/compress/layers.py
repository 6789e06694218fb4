"""The layers and the quantisation of our networks that tfmot lacks. Importing this imports tf_keras and tfmot."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from ds_keras.export.compress.libraries import libraries

tf_keras, tfmot = libraries()
# the base classes; their packages have no types
_Layer: Any = tf_keras.layers.Layer
_QuantizeConfig: Any = tfmot.quantization.keras.QuantizeConfig
_Quantizer: Any = tfmot.quantization.keras.quantizers.LastValueQuantizer


class Operation(_Layer):
    """Runs operations of ``keras.ops``, which have no weights, inside a tf_keras network.

    Args:
        run: takes the list of tensors, returns a tensor.
        kind: what it is, for messages.
        **kwargs: of ``tf_keras.layers.Layer``.
    """

    def __init__(self, run: Callable[[list], tf.Tensor], kind: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.run, self.kind = run, kind

    def call(self, tensors: Any) -> tf.Tensor:
        """Runs it."""
        return self.run(tf.nest.flatten(tensors))


class Normalize(_Layer):
    """``Rescaling`` as a 1x1 convolution with a diagonal kernel, which int8 represents exactly.

    A convolution has a scale for each output channel, so that the kernel's only weight that is not zero is the code
    127; its bias is int32. It has no variables: fine-tuning leaves the normalisation alone.

    Args:
        scale: float, or one for each channel.
        offset: float, or one for each channel.
        **kwargs: of ``tf_keras.layers.Layer``.

    Call:
        x: (batch, height, width, channels) float32; returns scale * x + offset.
    """

    def __init__(self, scale: Any, offset: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Normalises."""
        channels = x.shape[-1]
        scale = np.broadcast_to(np.asarray(self.scale, "float32"), [channels])
        offset = np.broadcast_to(np.asarray(self.offset, "float32"), [channels])
        kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            np.diag(scale)[None, None], -np.abs(scale), np.abs(scale), narrow_range=True
        )
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), offset)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


class OutputQuantizeConfig(_QuantizeConfig):
    """Quantises what a layer gives and nothing else: for squeeze-and-excitation's ``Multiply`` and ``Normalize``."""

    def get_weights_and_quantizers(self, layer: Any) -> list:
        """None."""
        return []

    def get_activations_and_quantizers(self, layer: Any) -> list:
        """None."""
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: list) -> None:
        """There are none."""
        pass  # AutoGraph cannot read a function that is only a docstring

    def set_quantize_activations(self, layer: Any, quantize_activations: list) -> None:
        """There are none."""
        pass  # AutoGraph cannot read a function that is only a docstring

    def get_output_quantizers(self, layer: Any) -> list:
        """8 bits, the range a moving average: as tfmot quantises its own layers."""
        return [
            tfmot.quantization.keras.quantizers.MovingAverageQuantizer(
                num_bits=8, per_axis=False, symmetric=False, narrow_range=False
            )
        ]

    def get_config(self) -> dict[str, Any]:
        """It has no arguments."""
        return {}


class DepthwiseQuantizer(_Quantizer):
    """8 bits and a scale for each channel of a depthwise kernel (height, width, channels, 1).

    tfmot's own takes the last axis for the channels of every convolution: here that is one scale for the whole kernel,
    and channels of small weights would get few of its codes.
    """

    def __init__(self) -> None:
        super().__init__(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """The ranges, one for each channel."""
        return super().build(tf.TensorShape([*tensor_shape[:2], 1, tensor_shape[2]]), name, layer)

    def __call__(self, inputs: tf.Tensor, training: Any, weights: dict[str, Any], **kwargs: Any) -> tf.Tensor:
        """Rounds the kernel."""
        kernel = super().__call__(tf.transpose(inputs, (0, 1, 3, 2)), training, weights, **kwargs)
        return tf.transpose(kernel, (0, 1, 3, 2))


CUSTOM_OBJECTS = {"Normalize": Normalize, "OutputQuantizeConfig": OutputQuantizeConfig}
