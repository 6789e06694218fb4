"""Readers of labelled image sets: folders, packs, IDX files, TFRecord shards, sets of other packages."""
