"""Paired timings: a supernet in TensorFlow, a bundle, ONNX files, PyTorch; load times and memory."""
