"""Generators: mask -> image. One file per generator; `cells` holds the searchable cell they share."""
