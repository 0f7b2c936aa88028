"""Command line: `python -m dev.generate [crd] [reference] [chart] [--check]`. Without a name it does all of them."""

import argparse
import sys
from collections.abc import Sequence

from dev.generate import chart, crd, generated_files, reference

# The reference and the chart are made from the same types as the CRD, not from its file: the order is for the eye.
GENERATORS = {"crd": crd.texts, "reference": reference.texts, "chart": chart.texts}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 1 when `--check` found a file that is out of date."""
    parser = argparse.ArgumentParser(prog="python -m dev.generate", description="Write the generated files.")
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"{', '.join(GENERATORS)} (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    options = parser.parse_args(argv)
    unknown = set(options.what) - set(GENERATORS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there is: {', '.join(GENERATORS)}")
    done = [generated_files.update(GENERATORS[name](), check=options.check) for name in options.what or GENERATORS]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
