"""Weights from and for elsewhere: the authors' released files, safetensors and ONNX."""
