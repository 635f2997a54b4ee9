"""The three stages of GenSeg, and how they depend on each other (Eq. 1-8)."""
