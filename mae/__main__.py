"""`python -m mae`, the same as the `mae` command."""

from mae.cli import main

if __name__ == "__main__":
    main()
