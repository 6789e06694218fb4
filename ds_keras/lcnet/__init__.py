"""LC-Net (arXiv 2007.15151): for each image a ResNet decides which blocks and which groups of channels run.

Everything of it lies here; no other room imports it.
"""
