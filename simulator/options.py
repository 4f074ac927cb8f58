"""Values of command line options."""

import argparse


def positive(text: str) -> int:
    """Read a whole number of at least 1: none of something would be a check that checks nothing."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
