"""A folder of files becomes cases: patterns, pairs, labels, masks."""
