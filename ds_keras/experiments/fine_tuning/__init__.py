"""A pretrained network tuned to photos within some minutes: ``ds_keras.training.fine_tune``."""
