"""Reads the values of command line options."""

import argparse


def positive(text: str) -> int:
    """Read a whole number of at least 1. Zero is refused, because a check that runs zero times checks nothing."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
