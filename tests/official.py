"""A state dictionary as the official DS-Net code saves it, of random numbers, and the model that it becomes."""

import numpy as np

from ds_keras.convert import ds_net as convert

SHAPE = (16, 16, 3)
STRIDES = (2, 1, 2)
STEM, EARLY, LATE = (4, 6), (8, 12), (8, 12, 16)


def official(outputs=4, early=2, stem=STEM, seed=0):
    """Random tensors under the official names: a stem, one stage before the gate, a gated one of two blocks."""
    rng = np.random.default_rng(seed)
    state = {"conv_stem.weight": rng.normal(size=(stem[early - 1], 3, 3, 3))}

    def norm(name, widths):
        for i, width in enumerate(widths):
            state[f"{name}.aux_bn.{i}.running_mean"] = rng.normal(size=width)
            state[f"{name}.aux_bn.{i}.running_var"] = rng.uniform(0.5, 1.5, width)
            state[f"{name}.aux_bn.{i}.num_batches_tracked"] = np.array(7)
        state[f"{name}.aux_bn.{i}.weight"] = rng.uniform(0.5, 1.5, widths[-1])
        state[f"{name}.aux_bn.{i}.bias"] = rng.normal(size=widths[-1])

    def block(name, old, new, head=0):
        c, d = old[-1], round(old[-1] / 4)
        state[f"{name}.conv_dw.weight"] = rng.normal(size=(c, 1, 3, 3))
        norm(f"{name}.bn1", old)
        state[f"{name}.gate.conv_reduce.weight"] = rng.normal(size=(d, c, 1, 1))
        state[f"{name}.gate.conv_reduce.bias"] = rng.normal(size=d)
        state[f"{name}.gate.conv_expand.weight"] = rng.normal(size=(c, d, 1, 1))
        state[f"{name}.gate.conv_expand.bias"] = rng.normal(size=c)
        if head:
            state[f"{name}.gate.gate.0.weight"] = rng.normal(size=(head, d, 1, 1))
        state[f"{name}.conv_pw.weight"] = rng.normal(size=(new[-1], c, 1, 1))
        norm(f"{name}.bn2", new)

    norm("bn1", stem[:early])
    block("blocks.0.first_block", stem[:early], EARLY[:early])
    block("blocks.1.first_block", EARLY[:early], LATE, outputs)
    block("blocks.1.residual_blocks.0", LATE, LATE)
    state["classifier.weight"], state["classifier.bias"] = rng.normal(size=(5, LATE[-1])), rng.normal(size=5)
    return {key: value.astype("float32") for key, value in state.items()}


def build(state, **kwargs):
    return convert.from_state_dict(state, **{"input_shape": SHAPE, "strides": STRIDES, **kwargs})
