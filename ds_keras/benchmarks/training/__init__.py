"""Timings of Stage I: what each part of a recipe saves, and the same passes in PyTorch."""
