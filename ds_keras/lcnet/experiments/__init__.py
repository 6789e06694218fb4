"""Experiments on LC-ResNets: a run, and paired comparisons of recipes."""
