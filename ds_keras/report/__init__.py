"""The report of a preset or a run: one HTML file with every policy, calibration, classes and training. No network."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_keras.core.files import expanded, write_bytes
from ds_keras.report import details, figures, page, sections
from ds_keras.report.facts import Facts, read_device, read_log, time_bundle
from ds_keras.routing import replay as curves
from ds_keras.runtime.bundle import Bundle

if TYPE_CHECKING:
    from ds_keras.data import Source
    from ds_keras.models.supernet import Supernet

__all__ = ["policies_png", "write_report"]


def policies_png(
    model: "Supernet", predictions: curves.Predictions, temperatures: list[float] | None = None, name: str | None = None
) -> bytes:
    """The main plot: accuracy against multiply-adds, all policies.

    Args:
        model: supernet with a budget table.
        predictions: of labelled images.
        temperatures: (levels,) fitted on held-out images; None leaves that pair out.
        name: title of the plot; default the model's.

    Returns:
        A PNG.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: no budget table.
    """
    found, routed = curves.curves(model, predictions, temperatures), curves.route(model, predictions)
    figure = sections.madds_figure(model, found, routed, predictions.labels, name or model.name)
    return figures.render(figure, "png")


def write_report(
    output: str | PathLike,
    model: "Supernet",
    source: "Source",
    card: dict[str, Any] | None = None,
    log: str | PathLike | None = None,
    bundle: str | PathLike | None = None,
    pictures: bool = False,
    command: str = "",
    rounds: int = 10,
    device: str | PathLike | None = None,
) -> Path:
    """Measures a model on labelled images and writes its report.

    Args:
        output: the HTML file; replaced as a whole.
        model: supernet with a budget table.
        source: images of its classes, which no training and no choice has seen.
        card: of ``zoo.card``: origin, terms and temperatures.
        log: ``metrics.jsonl`` of the run, for the training curves.
        bundle: measured in LiteRT with one thread, for the milliseconds.
        pictures: show images. A page that others get to see may hold them only where the data's terms allow it.
        command: that repeats the report.
        rounds: timings of each part of the bundle.
        device: instead of a bundle: the figures that a page of ``export.to_web`` saved, for the milliseconds there.

    Returns:
        The path.

    Raises:
        ImportError: matplotlib is missing, or LiteRT for a bundle.
        ValueError: no budget table, a bundle or device figures of another model or both, or an unreadable file.

    Example:
        >>> write_report("report.html", model, data.digits()["test"], zoo.card("ds_mobilenet_digits"))
    """
    if bundle is not None and device is not None:
        raise ValueError(f"give bundle or device, received {str(bundle)!r} and {str(device)!r}")
    opened = None if bundle is None else Bundle(bundle)  # a damaged one is refused before the images are run
    facts = Facts(model, card or {}, source)
    lines = None if log is None else read_log(log)
    timing = None if opened is None else time_bundle(facts, opened, rounds)
    timing = timing if device is None else read_device(facts, device)
    parts = [
        sections.summary(facts),
        sections.accuracy_over_madds(facts),
        sections.accuracy_over_milliseconds(facts, timing),
        sections.levels(facts),
        details.calibration(facts),
        details.classes(facts),
        details.training(lines),
        details.images(facts) if pictures else details.no_images(),
        details.origin(facts, command),
    ]
    name = facts.card.get("experiment") or facts.card.get("name", model.name)
    write_bytes(output, page.document(f"Report: {name}", parts).encode())
    return expanded(output)
