"""Operators of the networks: convolution, pooling with indices, polyphase layers.

Arrays are [B, T, H, W, C]: batch, frames, height, width, channels. Each operator has a slow
float64 version in `reference`, and the shapes it is tested with in `cases`.
"""
