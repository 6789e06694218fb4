"""The head of a detector: features of several strides joined from coarse to fine, and convolutions that all share."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ds_keras.core.rescale import CHANNELS_LAST
from ds_keras.core.visitor import SliceableBlock, Visitor
from ds_keras.layers.batch_norm import SliceableBatchNormalization
from ds_keras.layers.conv import SliceableConv2D
from ds_keras.layers.depthwise import SliceableDepthwiseConv2D

DEPTH = 2  # separable convolutions
RARE = 0.01  # score of everything before training: most locations lie on no thing


class Head(SliceableBlock):
    """From the features at each stride to a row for every location.

    Args:
        strides: of the features, finer ones first.
        widths: channels at each level.
        num_classes: kinds of things.
        **kwargs: of ``SliceableBlock``.
    """

    def __init__(self, strides: Sequence[int], widths: Sequence[int], num_classes: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_classes, width, rows = num_classes, widths[-1], 4 + num_classes
        sizes, smooth = list(widths), {"interpolation": "bilinear", **CHANNELS_LAST}
        self.laterals: list[tuple[Any, Any]] = []
        self.joints: list[tuple[Any, Any]] = []  # of a stride with the next one
        self.flats: list[Any] = []
        for i, stride in enumerate(strides):
            lateral = SliceableConv2D(width, 1, sizes=sizes, **self.child(f"lateral{stride}"))
            self.laterals.append((lateral, self._norm(len(sizes), f"lateral{stride}_norm")))
            self.flats.append(keras.layers.Reshape((-1, rows), **self.child(f"flat{stride}")))
            if i + 1 < len(strides):
                up = keras.layers.UpSampling2D(strides[i + 1] // stride, **smooth, **self.child(f"up{stride}"))
                self.joints.append((up, keras.layers.Add(**self.child(f"add{stride}"))))
        self.tower: list[tuple[Any, list[tuple[Any, Any]]]] = []  # a convolution; norm and activation of each stride
        for j in range(DEPTH):
            spatial = SliceableDepthwiseConv2D(3, sizes=sizes, **self.child(f"depthwise{j}"))
            mixing = SliceableConv2D(width, 1, sizes=sizes, **self.child(f"pointwise{j}"))
            self.tower.append((spatial, self._ends(f"depthwise{j}", strides, len(sizes))))
            self.tower.append((mixing, self._ends(f"pointwise{j}", strides, len(sizes))))
        start: dict[str, Any] = {"kernel_initializer": keras.initializers.RandomNormal(stddev=0.01), "use_bias": True}
        self.rows = SliceableConv2D(rows, 1, sizes=[rows] * len(sizes), **start, **self.child("rows"))
        self.join = keras.layers.Concatenate(axis=1, **self.child("join"))

    def _norm(self, count: int, name: str) -> SliceableBatchNormalization:
        return SliceableBatchNormalization(count, epsilon=1e-3, **self.child(name))

    def _ends(self, name: str, strides: Sequence[int], count: int) -> list[tuple[Any, Any]]:
        """Norm and activation behind a convolution, for each stride: its features have statistics of their own."""
        ends = []
        for stride in strides:
            act = keras.layers.Activation("relu6", **self.child(f"{name}_activation{stride}"))
            ends.append((self._norm(count, f"{name}_norm{stride}"), act))
        return ends

    def start_rare(self) -> None:
        """Sets the bias of a built head so that every score begins low."""
        bias = np.full(4 + self.num_classes, np.log(RARE / (1 - RARE)), "float32")
        bias[:4] = 0
        self.rows.bias.assign(bias)

    def forward(self, visitor: Visitor, x: Any) -> Any:
        """The pass.

        Args:
            visitor: see the base class.
            x: features at each stride, a list.

        Returns:
            (batch, locations, 4 + num_classes); locations of finer strides first.
        """
        joined: list[Any] = []
        above = None
        for i in reversed(range(len(x))):
            lateral, norm = self.laterals[i]
            y = visitor(norm, visitor(lateral, x[i]))
            if above is not None:
                up, add = self.joints[i]
                y = visitor(add, [y, visitor(up, above)])
            above = y
            for layer, ends in self.tower:
                norm, act = ends[i]
                y = visitor(act, visitor(norm, visitor(layer, y)))
            joined.insert(0, visitor(self.flats[i], visitor(self.rows, y)))
        return visitor(self.join, joined)
