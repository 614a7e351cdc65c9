"""A trained FAb-Net inspected on test frames: warps, confidences, interpolation and transfer, and figures of them."""
