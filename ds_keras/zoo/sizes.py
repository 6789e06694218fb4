"""A preset at another image size than the one that it was measured at."""

from typing import TYPE_CHECKING, Any

from absl import logging

if TYPE_CHECKING:
    from ds_keras.core.image_model import ImageModel

CELLS = 3  # the last features have at least so many rows and columns


def at_size(model: "ImageModel", image_size: Any) -> "ImageModel":
    """The same network for images of another size; the budget table, which counts the old size's cost, is dropped.

    Args:
        model: network of convolutions, built.
        image_size: pixels: an int, or (height, width).

    Returns:
        A network with the same weights, thresholds and default policy.

    Raises:
        ValueError: no size, one that is too small for the network, or a network that has one size only.
    """
    sides = (image_size, image_size) if type(image_size) is int else image_size
    if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(type(side) is int for side in sides):
        raise ValueError(f"image_size must be an integer or (height, width), received {image_size!r}")
    strides = getattr(model, "strides", None)
    if strides is None:
        raise ValueError(
            f"image_size must be left out for {model.name}: a {type(model).__name__} runs at "
            f"{model.image_shape[0]}x{model.image_shape[1]} only, received {image_size!r}"
        )
    smallest = CELLS * max(strides)
    if min(sides) < smallest:
        raise ValueError(f"image_size must be at least {smallest} for {model.name}, received {image_size!r}")
    measured = model.image_shape[:2]
    if tuple(sides) == measured:
        return model
    logging.warning(
        "%s was measured at %dx%d: its figures, and the thresholds that it routes by, are of that size; measure it at "
        "%dx%d before you rely on them. Its budget table is dropped",
        *(model.name, *measured, *sides),
    )
    config = {**model.get_config(), "input_shape": [*sides, model.image_shape[2]]}
    if "budget_table" in config:
        config["budget_table"] = {}
    twin = type(model).from_config(config)
    twin.build()
    twin.set_weights(model.get_weights())
    return twin
