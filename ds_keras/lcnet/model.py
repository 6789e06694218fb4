"""LC-ResNet: a residual network that skips, for each image, whole blocks and groups of their channels."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.rescale import CHANNELS_LAST
from ds_keras.lcnet.block import SkippableBlock, run_layers
from ds_keras.lcnet.cost import SkippingNetwork
from ds_keras.lcnet.predictor import relu1
from ds_keras.lcnet.skipping import How, in_full, in_sub_batches


@dataclass(frozen=True)
class LCStage:
    """A row of the architecture.

    Args:
        width: channels of the blocks' output.
        depth: number of blocks.
        stride: of the first block.
        always: so many first blocks are never skipped whole; groups of their channels may be.
        attention: a channel attention before the first block, 1 + tanh(...), which always runs: ``DSResNet`` has one
            where its gate reads.
        projection: a 1x1 convolution in the shortcut of the first block, also where width and stride stay as they are.
    """

    width: int
    depth: int
    stride: int = 1
    always: int = 0
    attention: bool = False
    projection: bool = False


# ResNet-50 (arXiv 1512.03385); and ours, for 32 px.
IMAGENET = (LCStage(256, 3), LCStage(512, 4, 2), LCStage(1024, 6, 2), LCStage(2048, 3, 2))
CIFAR = (LCStage(32, 3, 2), LCStage(64, 3, 2), LCStage(128, 3, 2))
BLOCKS = ("bottleneck", "basic")
STRIDE_IN = ("3x3", "1x1")
PADDINGS = ("same", "symmetric")


def read_stages(stages: Sequence[LCStage | dict[str, Any]], least: int) -> tuple[LCStage, ...]:
    """The rows of an architecture.

    Args:
        stages: rows, or their fields as JSON gives them.
        least: width that a row may have.

    Returns:
        The rows.

    Raises:
        ValueError: other fields than those of ``LCStage``, or values that these cannot have.
    """
    try:
        rows = tuple(row if isinstance(row, LCStage) else LCStage(**row) for row in stages)
    except TypeError as error:
        raise ValueError(f"stages must be rows with the fields of LCStage, received {stages!r}: {error}") from None
    numbers = [number for row in rows for number in (row.width, row.depth, row.stride)]
    if not numbers or any(type(n) is not int or n < 1 for n in numbers) or min(row.width for row in rows) < least:
        raise ValueError(
            "stages must have a row, every number a positive integer and every width of a bottleneck at least 4, "
            f"received {stages!r}"
        )
    switches = [switch for row in rows for switch in (row.attention, row.projection)]
    if any(type(row.always) is not int or row.always < 0 for row in rows) or any(type(s) is not bool for s in switches):
        raise ValueError(
            "stages: always must be an integer of at least 0, attention and projection True or False in every row, "
            f"received {stages!r}"
        )
    return rows


@keras.saving.register_keras_serializable("ds_keras")
class LCResNet(SkippingNetwork):
    """ResNet that decides for each image which residual blocks to skip, and which groups of their channels.

    Before a block a ``ScalePredictor`` gives a scale in [0, 1] for the block and one for each group; they multiply, and
    what has the scale 0 does not run: at inference images that need a branch form a dense sub-batch, and an exported
    file has a conditional (``export.to_tflite``). The shortcut always runs.

    Args:
        stem: width of the stem convolution.
        stages: rows of the architecture, widths at the blocks' output.
        num_classes: size of the classifier.
        input_shape: (height, width, channels) of the images. Training takes other heights and widths too.
        stem_kernel: size of the stem convolution.
        stem_stride: of the stem convolution.
        stem_pool: 3x3 maximum pooling of stride 2 after the stem.
        block: "bottleneck" or "basic".
        layers: blocks may be skipped (L-Net).
        groups: of channels that may be skipped in a block (C-Net); 0 for none. As many as there are channels is the
            paper's C-Net: no machine skips single channels, so that they are computed and multiplied, while the count
            of multiply-adds leaves them out as the paper does.
        activation: Keras activation name.
        constant: the predictors read nothing: every image runs the same. For comparisons.
        stem_padding: of the stem convolution: "same", or "symmetric" as PyTorch and Caffe pad.
        stride_in: the convolution of a bottleneck that has the stride: "3x3" (version 1.5) or "1x1" (the first one).
        **kwargs: ``mean``, ``std``, ``labels`` and ``name``, see ``ImageModel``.

    Call:
        x: (batch, height, width, channels) images, uint8 or float in [0, 255].
        training: everything runs, with batch statistics.
        Returns (batch, num_classes) float32 logits.

    Raises:
        ValueError: a table that describes no network.

    Source: LC-Net, arXiv 2007.15151 (no code was released); ResNet: arXiv 1512.03385. Groups of channels, and what runs
    at inference, are ours.

    Example:
        >>> model = LCResNet.cifar(num_classes=10)
        >>> model.run(images).madds
    """

    trainer = "LCTrainer"
    without_levels = (
        "an LCResNet has no slice levels: bundles, ONNX files, policies and budgets belong to supernets (DSMobileNet, "
        "DSResNet, DSViT). What it costs is model.madds, what an image spends model.run(images).madds, its file is "
        "that of ds_keras.export.to_tflite, and ds_keras.training.LCTrainer trains and calibrates it"
    )

    def __init__(
        self,
        stem: int,
        stages: Sequence[LCStage | dict[str, int]],
        num_classes: int = 1000,
        input_shape: Sequence[int] = (224, 224, 3),
        stem_kernel: int = 7,
        stem_stride: int = 2,
        stem_pool: bool = True,
        block: str = "bottleneck",
        layers: bool = True,
        groups: int = 4,
        activation: str = "relu",
        constant: bool = False,
        stem_padding: str = "same",
        stride_in: str = "3x3",
        **kwargs: Any,
    ):
        super().__init__(num_classes, tuple(input_shape), **kwargs)
        for argument, value in {"stem": stem, "stem_kernel": stem_kernel, "stem_stride": stem_stride}.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{argument} must be a positive integer, received {value!r}")
        for argument, value in {"layers": layers, "stem_pool": stem_pool, "constant": constant}.items():
            if type(value) is not bool:
                raise ValueError(f"{argument} must be True or False, received {value!r}")
        known = (
            ("block", block, BLOCKS),
            ("stride_in", stride_in, STRIDE_IN),
            ("stem_padding", stem_padding, PADDINGS),
        )
        for name, given, allowed in known:
            if given not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, received {given!r}")
        if not isinstance(activation, str):
            raise ValueError(f"activation must be the name of one, received {activation!r}")
        least = 4 if block == "bottleneck" else 1
        self.stages = read_stages(stages, least)
        hidden = [row.width // least for row in self.stages]
        if type(groups) is not int or groups < 0 or any(groups and width % groups for width in hidden):
            raise ValueError(f"groups must be 0, or divide the blocks' channels {hidden}, received {groups!r}")
        self.table: dict[str, Any] = {
            "stem": stem,
            "stem_kernel": stem_kernel,
            "stem_stride": stem_stride,
            "stem_pool": stem_pool,
            "stem_padding": stem_padding,
        }
        self.table |= {"block": block, "stride_in": stride_in, "layers": layers, "groups": groups}
        self.table |= {"activation": activation, "constant": constant}
        named: dict[str, Any] = {"dtype": self.dtype_policy}
        self.border, same = [], stem_padding == "same"
        if not same:
            self.border = [keras.layers.ZeroPadding2D((stem_kernel - 1) // 2, name="border", **CHANNELS_LAST, **named)]
        start = {"padding": "same" if same else "valid", "use_bias": False, "kernel_initializer": "he_normal"}
        self.stem = [
            keras.layers.Conv2D(stem, stem_kernel, stem_stride, **start, name="stem", **CHANNELS_LAST, **named),
            keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="stem_norm", **named),
            keras.layers.Activation(activation, name="stem_activation", **named),
        ]
        if stem_pool:
            pool = {"padding": "same", "name": "stem_pool", **CHANNELS_LAST}
            self.stem.append(keras.layers.MaxPooling2D(3, 2, **pool, **named))
        self.blocks, old = [], stem
        for i, row in enumerate(self.stages, start=1):
            for j in range(row.depth):
                stride, skips = (row.stride if j == 0 else 1), layers and j >= row.always
                options: dict[str, Any] = {"activation": activation, "constant": constant, "stride_in": stride_in}
                options |= {"attention": row.attention and j == 0, "projection": row.projection and j == 0}
                options |= {"name": f"stage{i}_block{j + 1}", **named}
                self.blocks.append(SkippableBlock(block, old, row.width, stride, skips, groups, **options))
                old = row.width
        self.pool = keras.layers.GlobalAveragePooling2D(name="pool", dtype="float32", **CHANNELS_LAST)
        self.classifier = keras.layers.Dense(num_classes, name="classifier", dtype="float32")

    @property
    def predictors(self) -> list[keras.Variable]:
        """The weights of the scale predictors."""
        return [v for block in self.blocks if block.predictor is not None for v in block.predictor.trainable_variables]

    @property
    def norms(self) -> list[keras.layers.BatchNormalization]:
        """Every BatchNorm."""
        return [self.stem[1], *(norm for block in self.blocks for norm in block.norms)]

    def build(self, input_shape: Any = None) -> None:
        """Creates every weight. Called by the first use; ``input_shape`` is the model's own."""
        if self.built:
            return
        self.rescale.build(self.input_shape)
        for layer in (*self.border, self.stem[0]):
            layer.build((None, None, None, self.image_shape[-1]))
        self.stem[1].build((None, None, None, self.table["stem"]))
        for block in self.blocks:
            block.build()
        self.classifier.build((None, self.stages[-1].width))
        self.built = True

    def output_shapes(self) -> dict[keras.layers.Layer, Any]:
        """See the base class."""
        shape, found = self.input_shape, {}
        for layer in (self.rescale, *self.border, *self.stem, *self.blocks, self.pool, self.classifier):
            found[layer] = shape = layer.compute_output_shape(shape)
        return found

    def call(self, x: Any, training: bool = False) -> tf.Tensor:
        """Logits; at inference each image skips what its scales allow."""
        x = x if training else self.check_input(x)
        return self.forward(x, in_full if training else in_sub_batches, training)[0]

    def forward(
        self, x: Any, how: How = in_sub_batches, training: bool = False, scales: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One pass.

        Args:
            x: images, as in a call.
            how: one of ``lcnet.skipping``.
            training: batch statistics; needs ``in_full``.
            scales: (batch, units) or (1, units) in [0, 1], taken instead of what the predictors give.

        Returns:
            Logits (batch, classes) float32, and what the predictors gave, (batch, units) float32, not yet limited (or
            ``scales``).
        """
        self.build()
        x = tf.cast(self.rescale(self.check_images(x)), self.compute_dtype)
        x = run_layers([*self.border, *self.stem], x, training)
        predicted, column = [], 0
        if scales is not None:
            scales = tf.broadcast_to(scales, [tf.shape(x)[0], scales.shape[1]])
        for block in self.blocks:
            own = None
            if block.units and scales is None:
                predicted.append(block.predictor(tf.cast(x, tf.float32)))
                own = relu1(predicted[-1])
            elif block.units and scales is not None:
                own = scales[:, column : column + block.units]
                column += block.units
            x = block(x, scales=own, how=how, training=training)
        logits = self.classifier(self.pool(tf.cast(x, tf.float32)))
        if scales is not None:
            return logits, scales
        return logits, tf.concat(predicted, axis=1) if predicted else tf.zeros([tf.shape(x)[0], 0])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, as plain data."""
        return {**super().get_config(), **self.table, "stages": [asdict(row) for row in self.stages]}

    @classmethod
    def imagenet(cls, num_classes: int = 1000, **kwargs: Any) -> "LCResNet":
        """ResNet-50 for 224 px.

        Args:
            num_classes: size of the classifier.
            **kwargs: of the constructor.

        Returns:
            LCResNet.
        """
        given = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
        return cls(64, IMAGENET, num_classes, **{**given, **kwargs})

    @classmethod
    def cifar(cls, num_classes: int, input_shape: Sequence[int] = (32, 32, 3), **kwargs: Any) -> "LCResNet":
        """Nine basic blocks for images of about 32 px. Arguments as ``imagenet``, plus ``input_shape``."""
        small = {"stem_kernel": 3, "stem_stride": 1, "stem_pool": False, "block": "basic"}
        return cls(16, CIFAR, num_classes, input_shape, **{**small, **kwargs})
