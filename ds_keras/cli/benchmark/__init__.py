"""Times a supernet, its training, a bundle, a detector, an ONNX file or an LC-ResNet, each against a baseline."""
