"""`python -m genseg_betty`, the same as `genseg`."""

from genseg_betty.cli import main

if __name__ == "__main__":
    main()
