"""A row of a convolutional architecture's table, what a table of them says about the levels, and the blocks' style."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ds_keras.core.levels import SliceLevel
from ds_keras.layers.batch_norm import SliceableBatchNormalization

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Style:
    """What every block of one convolutional network shares; an architecture adds its own fields.

    Raises:
        ValueError: the activation is not a name.
    """

    padding: str
    activation: str
    bn_momentum: float
    bn_epsilon: float

    def __post_init__(self) -> None:
        if not isinstance(self.activation, str):
            raise ValueError(f"activation must be the name of one, received {self.activation!r}")

    def norm(self, statistics: Sequence[int], **kwargs: Any) -> SliceableBatchNormalization:
        """A BatchNorm whose levels use these rows of statistics."""
        return SliceableBatchNormalization(
            len(statistics), statistics, momentum=self.bn_momentum, epsilon=self.bn_epsilon, **kwargs
        )


@dataclass(frozen=True)
class Stage:
    """A row of the architecture.

    Args:
        width: output channels: one int before the gate (the same at every level), a tuple (one for each level) after.
        depth: number of blocks: an int, or (after the gate) one for each level, not decreasing: a smaller level runs
            the first of them.
        stride: of the first block.
        gate: the level begins in this stage, whose first block holds the gate.
        teacher: a wider width that only ``teacher_level`` uses (before the gate).
        kernel: size of the spatial convolutions: an int, or (after the gate) one for each level, odd and not
            decreasing: a smaller one is the centre of a larger. What runs before the gate uses the smallest.
    """

    width: int | tuple[int, ...]
    depth: int | tuple[int, ...]
    stride: int = 1
    gate: bool = False
    teacher: int | None = None
    kernel: int | tuple[int, ...] = 3


Row = TypeVar("Row", bound=Stage)


def read_stage(row: Row | dict[str, Any], kind: type[Row] = Stage) -> Row:  # type: ignore[assignment]
    """A row of the table, or its fields as JSON gives them.

    Args:
        row: see above.
        kind: class of the table's rows.

    Returns:
        The row.

    Raises:
        ValueError: other fields than those of ``kind``.
    """
    if isinstance(row, kind):
        return row
    given: Any = row
    fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in dict(given).items()}
    try:
        return kind(**fields)
    except TypeError as error:
        names = f"the fields of {kind.__name__}"
        raise ValueError(f"a row of stages must have {names}, received {row!r}: {error}") from None


def at_levels(value: Number | tuple[Number, ...], count: int) -> list[Number]:
    """A width, depth, kernel size or expansion of the table at each of ``count`` levels."""
    return list(value) if isinstance(value, tuple) else [value] * count


def slice_levels(stages: tuple[Stage, ...], gated: int) -> tuple[SliceLevel, ...]:
    """The levels that a checked table describes, with the ratio of every dimension that is sliced.

    Args:
        stages: rows of the architecture.
        gated: index of the gated row.

    Returns:
        One ``SliceLevel`` for each width of the gated row, smallest first.
    """
    levels = []
    for k in range(len(at_levels(stages[gated].width, 1))):
        ratios = {}
        for i, stage in enumerate(stages):
            if i >= gated:
                widths = at_levels(stage.width, 1)
                ratios[f"stage{i + 1}"] = widths[k] / widths[-1]
            if isinstance(stage.depth, tuple):
                ratios[f"stage{i + 1}_depth"] = stage.depth[k] / stage.depth[-1]
            if isinstance(stage.kernel, tuple):
                ratios[f"stage{i + 1}_kernel"] = stage.kernel[k] / stage.kernel[-1]
        levels.append(SliceLevel(k, ratios))
    return tuple(levels)


def gated_stage(stages: tuple[Stage, ...]) -> int:
    """The index of the gated stage, after checking the table.

    Args:
        stages: rows of the architecture.

    Returns:
        Index of the row with ``gate=True``.

    Raises:
        ValueError: the table does not describe nested levels.
    """
    gated = [i for i, stage in enumerate(stages) if stage.gate]
    if len(gated) != 1:
        raise ValueError(f"stages must have exactly one row with gate=True, received {len(gated)}")
    of_gated = stages[gated[0]].width
    count = len(of_gated) if isinstance(of_gated, tuple) else 0
    for i, stage in enumerate(stages):
        row = f"stage {i + 1}"
        if i < gated[0] and not isinstance(stage.width, int):
            raise ValueError(f"{row} lies before the gate: its width must be one int, received {stage.width!r}")
        if i >= gated[0]:
            if not isinstance(stage.width, tuple) or len(stage.width) != count or count < 2:
                raise ValueError(
                    f"{row} must have a width for each level, a tuple of equal length, got {stage.width!r}"
                )
            if list(stage.width) != sorted(stage.width):
                raise ValueError(f"{row}: widths must not decrease from level to level, received {stage.width}")
            if stage.teacher:
                raise ValueError(f"{row}: the teacher is wider only before the gate, received teacher={stage.teacher}")
        elif stage.teacher and stage.teacher < at_levels(stage.width, 1)[0]:
            raise ValueError(f"{row}: teacher={stage.teacher} must be at least width={stage.width}")
        kernels, depths = at_levels(stage.kernel, 1), at_levels(stage.depth, 1)
        for name, value in {"kernel": stage.kernel, "depth": stage.depth}.items():
            if isinstance(value, tuple) and (i < gated[0] or len(value) != count):
                raise ValueError(
                    f"{row}: {name} must be an int, or after the gate one for each level, received {value!r}"
                )
        if kernels != sorted(kernels) or any(k < 1 or k % 2 == 0 for k in kernels):
            raise ValueError(f"{row}: kernel must be odd and must not decrease, received {stage.kernel!r}")
        if not all(type(depth) is int for depth in depths):
            raise ValueError(f"{row}: depth must be an int or a tuple of them, received {stage.depth!r}")
        if depths != sorted(depths) or depths[0] < 1:
            raise ValueError(f"{row}: depth must be at least 1 and must not decrease, received {stage.depth!r}")
    return gated[0]
