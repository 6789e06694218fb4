"""Training on several devices and machines: the loop, the strategies, what replicas have to agree on."""

from ds_keras.training.distributed.loop import fit
from ds_keras.training.distributed.strategies import STRATEGIES, is_chief, make_strategy, shares_work
from ds_keras.training.distributed.workers import job

__all__ = ["STRATEGIES", "fit", "is_chief", "job", "make_strategy", "shares_work"]
