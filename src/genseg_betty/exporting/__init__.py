"""A trained segmenter as a file that others run: ONNX, PyTorch's two formats, or a bundle of MONAI."""
