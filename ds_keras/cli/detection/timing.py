"""A detector's session, as benchmarks run one."""

from typing import Any


class Detecting:
    """Levels that run images to their boxes: ``benchmarks.bundle.Levelled``.

    Args:
        detector: ``detection.Session``.
    """

    def __init__(self, detector: Any):
        self.detector, self.num_levels = detector, len(detector.levels)

    def run(self, images: Any, level: Any = None) -> Any:
        """The boxes on (count, height, width, channels) images."""
        return self.detector.detect(list(images), level=level)
