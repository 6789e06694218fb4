"""Stateless augmentation of batches, and the recipes that name it."""
