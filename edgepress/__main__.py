"""`python -m edgepress` is the `edgepress` command."""

from edgepress.cli import main

if __name__ == "__main__":
    main()
