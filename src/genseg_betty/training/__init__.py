"""A config and data become a finished Run."""
