"""`python -m onceover_cli` is `onceover`."""

from .main import run

if __name__ == "__main__":
    run()
