"""Supernets: one file for each architecture, whose table of stages is at its top."""

from ds_keras.models.mobilenet import DSMobileNet
from ds_keras.models.supernet import Supernet

__all__ = ["DSMobileNet", "Supernet"]
