"""Bundles: every weight once, and templates from which a device makes the file of a level."""

from ds_keras.export.bundle.writer import to_bundle

__all__ = ["to_bundle"]
