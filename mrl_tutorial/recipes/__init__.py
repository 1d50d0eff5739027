"""What to train: loss-weight grids over terms, by name or your own."""
