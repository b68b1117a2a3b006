"""The network's operators: convolutions and their transposes, pooling that remembers places, the phase-split outer layers.

Arrays are `[B, T, H, W, C]`. Each operator has a slow float64 twin in `reference` and its shapes in `cases`.
"""
