"""A network with a new classifier, or without one."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ds_keras.core.image_model import ImageModel
    from ds_keras.models.supernet import Supernet


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


def without_classifier(model: "Supernet") -> "Supernet":
    """A copy of a supernet with the weights of start, gate and trunk: what a detector is built on.

    Args:
        model: supernet; one that is not built yet has no weights, and is given back as it is.

    Returns:
        The copy. The layers behind the trunk are not built.
    """
    from ds_keras.core.visitor import Build

    if not model.built:
        return model
    twin, visitor = type(model)(**{**model.get_config(), "dtype": model.dtype_policy}), Build()
    features, gate_features = twin.start(visitor, twin.input_shape)
    twin.gate(visitor, gate_features)
    twin.trunk(visitor, features)
    for new, old in zip(twin._flatten_layers(False), model._flatten_layers(False), strict=True):
        if len(new.weights) == len(old.weights):  # else it is one that is not built, or holds one
            new.set_weights(old.get_weights())
    return twin
