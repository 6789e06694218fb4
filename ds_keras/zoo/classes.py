"""A network with a new classifier."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ds_keras.core.image_model import ImageModel


def with_classes(model: "ImageModel", num_classes: int, name: str | None = None) -> "ImageModel":
    """The same network with a new classifier; what was measured on the old classes, and chosen by it, is dropped.

    Args:
        model: network, built; not changed.
        num_classes: of the new one.
        name: of the new network; default the old one's.

    Returns:
        The network, built.
    """
    measured = ("labels", "budget_table", "cascade", "default_policy")
    config = {key: value for key, value in model.get_config().items() if key not in measured}
    twin = type(model).from_config({**config, "num_classes": num_classes, "name": name or model.name})
    twin.build()
    dropped = {id(v) for v in (*model.classifier.weights, *model.settings)}
    for new, old in zip(twin.weights, model.weights, strict=True):
        if id(old) not in dropped:
            new.assign(old)
    return twin
