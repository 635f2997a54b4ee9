"""What `genseg predict` does with one image: windows, flips, several Runs, and the files beside a mask."""
