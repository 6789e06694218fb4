"""A row of an architecture's table, and the check that the rows describe nested levels."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """A row of the architecture.

    Args:
        width: output channels: one int before the gate (the same at every level), a tuple (one for each level) after.
        depth: number of blocks.
        stride: of the first block.
        gate: the first block holds the slimming head; the level starts at its pointwise convolution.
        teacher: a wider width that only ``teacher_level`` uses (before the gate).
        kernel: size of the depthwise convolution.
    """

    width: int | tuple[int, ...]
    depth: int
    stride: int = 1
    gate: bool = False
    teacher: int | None = None
    kernel: int = 3


def read_stage(row: Stage | dict[str, Any]) -> Stage:
    """A row of the table from a ``Stage`` or from its fields as JSON gives them."""
    if isinstance(row, Stage):
        return row
    row = dict(row)
    row["width"] = tuple(row["width"]) if isinstance(row["width"], list) else row["width"]
    return Stage(**row)


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
    for i, stage in enumerate(stages):
        row = f"stage {i + 1}"
        if i < gated[0] and not isinstance(stage.width, int):
            raise ValueError(f"{row} lies before the gate: its width must be one int, received {stage.width!r}")
        if i >= gated[0]:
            count = len(stages[gated[0]].width) if isinstance(stages[gated[0]].width, tuple) else 0
            if not isinstance(stage.width, tuple) or len(stage.width) != count or count < 2:
                raise ValueError(
                    f"{row} must have a width for each level, a tuple of equal length, got {stage.width!r}"
                )
            if list(stage.width) != sorted(stage.width):
                raise ValueError(f"{row}: widths must not decrease from level to level, received {stage.width}")
            if stage.teacher:
                raise ValueError(f"{row}: the teacher is wider only before the gate, received teacher={stage.teacher}")
        elif stage.teacher and stage.teacher < stage.width:
            raise ValueError(f"{row}: teacher={stage.teacher} must be at least width={stage.width}")
        if stage.depth < 1:
            raise ValueError(f"{row}: depth must be at least 1, received {stage.depth}")
    return gated[0]
