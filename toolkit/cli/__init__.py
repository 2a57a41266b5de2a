"""The command line, for authors and operators: each command parses, calls one room, and prints."""


def main() -> None:
    """Run ``toolkit`` with the arguments of this process, and end the process."""
    from toolkit.cli.commands import run

    run()


__all__ = ["main"]
