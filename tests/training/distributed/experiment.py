"""A small experiment, EPOCHS (2) of 5 steps; DIE="worker stage step seconds" kills that worker so long after that step.

The kill is SIGKILL, from another thread: at any point of what the worker does then.
"""

import json
import os
import signal
import threading

from ds_keras.experiments import Experiment, TrainingStage, loop
from ds_keras.models import DSMobileNet
from ds_keras.models.mobilenet import Stage

ROWS = (Stage(4, 1), Stage((4, 16), 1, 2, gate=True))
EPOCHS = int(os.environ.get("EPOCHS", "2"))
EXPERIMENT = Experiment(
    name="toy",
    data="digits",
    model=lambda classes, shape: DSMobileNet(4, ROWS, classes, shape, stem_stride=1, gate_hidden=4, attention=False),
    stage1=TrainingStage(EPOCHS, 0.05, batch_size=64, augment="shift:1", trainer={"num_random": 1}),
    stage2=TrainingStage(EPOCHS, 3e-3, "adam", 64, trainer={"target": None}),
    held_out=1117,
    calibration=(4, 64),
)
worker, stage, last, seconds = os.environ.get("DIE", "none none 0 0").split()
count, dead = loop._Saver.on_train_batch_end, threading.Event()


def dying(self, batch, logs=None):
    """Counts the step, and dies after the one, or after the first that is later."""
    count(self, batch, logs)
    me = str(json.loads(os.environ["TF_CONFIG"])["task"]["index"]) if "TF_CONFIG" in os.environ else "none"
    if (me, self.loop.name) == (worker, stage) and self.step >= int(last) and not dead.is_set():
        dead.set()
        if not float(seconds):
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Timer(float(seconds), os.kill, [os.getpid(), signal.SIGKILL]).start()


loop._Saver.on_train_batch_end = dying
