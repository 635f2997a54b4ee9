"""A file on disk becomes a batch: images, cases, checks, splits, preprocessing, loading."""
