"""The command line where only the interpreter is at hand: ``python -m daflow.cli``."""

from daflow.cli.entry import main

if __name__ == "__main__":
    main()
