"""nnU-Net v2 (Isensee et al., Nature Methods 2021): data sets in its format, its commands, and what they leave behind.

Nothing of it is imported here but by the trainer in `trainers/`, which nnU-Net itself loads.
"""
