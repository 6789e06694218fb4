"""The tables of DS-MobileNetV2: a row for each stage of inverted residuals, and what is checked of them."""

from dataclasses import dataclass
from typing import Any

from ds_keras.models.stage import Stage, at_levels, gated_stage


@dataclass(frozen=True)
class InvertedStage(Stage):
    """A row of the architecture.

    Args:
        expansion: hidden width of a block over the width of its input: a number, or (after the gate) one for each
            level, not decreasing. 1 at every level leaves the expanding convolution out.
        **others: see ``Stage``; ``teacher`` stays None.
    """

    expansion: float | tuple[float, ...] = 6


def inverted_stage(
    width: Any, depth: Any, stride: int, kernel: Any = 3, expansion: Any = 6, gate: bool = False
) -> InvertedStage:
    """A row whose fields that are seldom given come last."""
    return InvertedStage(width, depth, stride, gate, None, kernel, expansion)


# The largest level is the published network; the smaller ones are ours. Width, depth, stride, kernel, expansion.
FIRST = inverted_stage(16, 1, 1, expansion=1)
IMAGENET = (  # MobileNetV2 1.0
    FIRST,
    inverted_stage((16, 16, 24, 24), (1, 2, 2, 2), 2, expansion=(1.5, 2, 4, 6), gate=True),
    inverted_stage((16, 24, 32, 32), (1, 2, 3, 3), 2, expansion=(2, 3, 4, 6)),
    inverted_stage((32, 48, 56, 64), (1, 2, 3, 4), 2, expansion=(2, 3, 4, 6)),
    inverted_stage((40, 64, 80, 96), (1, 2, 2, 3), 1, expansion=(3, 4, 5, 6)),
    inverted_stage((64, 112, 136, 160), (1, 2, 3, 3), 2, expansion=(2, 4, 5, 6)),
    inverted_stage((80, 192, 256, 320), 1, 1, expansion=(3, 4, 5, 6)),
)
LITE = {
    0: (
        FIRST,
        inverted_stage((16, 16, 24, 24), (1, 1, 2, 2), 2, expansion=(2, 3, 4, 6), gate=True),
        inverted_stage((24, 32, 32, 40), (1, 2, 2, 2), 2, (3, 3, 5, 5), (2, 3, 4, 6)),
        inverted_stage((40, 56, 64, 80), (1, 2, 3, 3), 2, 3, (3, 3, 4, 6)),
        inverted_stage((48, 72, 96, 112), (1, 2, 2, 3), 1, (3, 3, 5, 5), (3, 4, 4, 6)),
        inverted_stage((88, 120, 160, 192), (2, 2, 3, 4), 2, (3, 3, 5, 5), (3, 4, 5, 6)),
        inverted_stage((112, 192, 256, 320), 1, 1, 3, (3, 4, 5, 6)),
    ),
    1: (
        FIRST,
        inverted_stage((16, 16, 24, 24), (1, 2, 2, 3), 2, expansion=(2, 3, 4, 6), gate=True),
        inverted_stage((24, 32, 32, 40), (1, 2, 3, 3), 2, (3, 3, 5, 5), (2, 3, 4, 6)),
        inverted_stage((40, 56, 64, 80), (2, 3, 3, 4), 2, 3, (3, 3, 4, 6)),
        inverted_stage((64, 80, 96, 112), (2, 3, 3, 4), 1, (3, 3, 5, 5), (3, 4, 5, 6)),
        inverted_stage((96, 120, 160, 192), (2, 3, 4, 5), 2, (3, 3, 5, 5), (3, 4, 5, 6)),
        inverted_stage((160, 192, 256, 320), 1, 1, 3, (3, 4, 5, 6)),
    ),
    2: (
        FIRST,
        inverted_stage((16, 16, 24, 24), (1, 2, 2, 3), 2, expansion=(2, 3, 4, 6), gate=True),
        inverted_stage((24, 32, 40, 48), (1, 2, 3, 3), 2, (3, 3, 5, 5), (3, 3, 4, 6)),
        inverted_stage((48, 64, 72, 88), (2, 3, 3, 4), 2, 3, (3, 3, 4, 6)),
        inverted_stage((72, 88, 104, 120), (2, 3, 3, 4), 1, (3, 3, 5, 5), (3, 4, 5, 6)),
        inverted_stage((104, 136, 176, 208), (3, 3, 4, 5), 2, (3, 3, 5, 5), (3, 4, 5, 6)),
        inverted_stage((176, 216, 280, 352), 1, 1, 3, (3, 4, 5, 6)),
    ),
}
LAST = (320, 768, 1024, 1280)
SIZES = {0: 224, 1: 240, 2: 260}  # pixels that EfficientNet-Lite was published for
# Ours, for 8 px.
TINY = (
    inverted_stage(8, 1, 1, expansion=1),
    inverted_stage((8, 12, 16, 20), (1, 1, 2, 2), 2, expansion=(2, 2, 3, 4), gate=True),
    inverted_stage((12, 20, 28, 40), 2, 2, 3, (2, 3, 3, 4)),
)


def gated_inverted(stages: tuple[InvertedStage, ...]) -> int:
    """The index of the gated row of a table that describes nested levels."""
    gated = gated_stage(stages)
    for i, stage in enumerate(stages):
        each = at_levels(stage.expansion, 1)
        counts = {1} if i < gated else {1, len(at_levels(stages[gated].width, 1))}
        if len(each) not in counts or list(each) != sorted(each) or not all(e > 0 for e in each):
            raise ValueError(
                f"stage {i + 1}: expansion must be a positive number, or after the gate one for each level, not "
                f"decreasing; received {stage.expansion!r}"
            )
        if stage.teacher:
            raise ValueError(f"stage {i + 1}: teacher must be None, received {stage.teacher!r}")
    return gated


def expansion_ratios(stages: tuple[InvertedStage, ...], level: int) -> dict[str, float]:
    """The ratios of the expansions that differ between levels."""
    rows = {f"stage{i}_expansion": row.expansion for i, row in enumerate(stages, 1)}
    return {name: e[level] / e[-1] for name, e in rows.items() if isinstance(e, tuple)}
