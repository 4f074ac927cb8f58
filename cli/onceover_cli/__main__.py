"""Runs the program `onceover` for `python -m onceover_cli`."""

from .main import run

if __name__ == "__main__":
    run()
