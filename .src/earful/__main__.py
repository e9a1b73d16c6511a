"""``python -m earful``: the command ``earful``, where it is not on the PATH."""

from earful.training.cli import main

if __name__ == "__main__":
    main()
