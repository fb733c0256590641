"""Policies for small devices: pruned, quantized, and run without PyTorch."""
