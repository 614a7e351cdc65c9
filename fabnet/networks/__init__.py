"""Encoder, decoders, warp, FAb-Net and the pretext baselines."""
