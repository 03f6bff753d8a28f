"""Run benchmarks by name: `python -m benchmarks [NAME ...]`.

Without a name it runs the quick ones, as `make bench` does.

Each benchmark is a module of this folder with a function `tables`; what it measures, and on which data, is in its docstring.
"""

from __future__ import annotations

import argparse
import importlib

from rich.console import Console

from fer_pipeline.errors import FerError

QUICK = ("imports", "inference", "preprocessing")
SLOW = (
    "attempts",
    "detection",
    "framing",
    "temporal",
    "neutral",
    "drift",
    "training",
    "gate",
    "service",
    "camera",
    "peers",
    "scale",
)


def main() -> None:
    """Run the benchmarks and print their tables.

    A quick benchmark that cannot run says why; one that was named ends the command with its error.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed, memory, and how often alarms are right.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join((*QUICK, *SLOW))}; left out: {', '.join(QUICK)}")
    names: list[str] = parser.parse_args().names
    for name in names:
        if name not in (*QUICK, *SLOW):
            parser.error(f"there is no benchmark {name!r}; there are {', '.join((*QUICK, *SLOW))}")
    console = Console()
    for name in names or QUICK:
        try:
            # Imported one by one: TensorFlow and Spark take seconds that the others need not wait for.
            for table in importlib.import_module(f"benchmarks.{name}").tables():
                console.print(table)
        except FerError as error:
            if names:
                parser.exit(error.exit_code, f"{name}: {error}\n")
            console.print(f"{name}: left out: {error}", markup=False)


if __name__ == "__main__":
    main()
