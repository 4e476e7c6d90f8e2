"""Files of weights: where they are, whether they are whole, which revision they have. No torch."""
