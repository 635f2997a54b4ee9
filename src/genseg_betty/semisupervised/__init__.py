"""What learns from images without masks too: levels, and the losses that they are made of, one file a method."""
