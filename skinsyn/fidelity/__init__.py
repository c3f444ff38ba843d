"""Are the images good, and whose are they? Embeddings and distances between real and synthetic."""
