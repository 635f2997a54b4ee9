"""What is measured of a prediction beside its truth: overlap, surfaces, and the scores of a test set."""
