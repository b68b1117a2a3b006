"""The paper's two networks as Flax linen modules over `ops`; no logic of their own."""
