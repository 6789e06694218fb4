"""Times a supernet, a bundle, an ONNX file or an LC-ResNet, each against what it must be compared with."""
