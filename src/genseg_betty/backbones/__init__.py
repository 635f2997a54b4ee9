"""Segmentation networks (S in the paper): image [B, C, H, W] in [-1, 1] -> logits [B, num_outputs, H, W].

Each backbone is a function of (in_channels, num_outputs, …) that a file in conf/backbone/ names by its
`_target_`.
"""
