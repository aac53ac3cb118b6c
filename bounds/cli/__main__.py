"""``python -m bounds.cli``: the command line where the package is not installed."""

from bounds.cli.app import main

if __name__ == "__main__":
    main()
