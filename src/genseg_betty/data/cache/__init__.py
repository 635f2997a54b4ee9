"""Decoded and prepared once, then read from files of arrays."""
