"""Command line of the benchmark: measures, prints the table, writes the JSON, compares with the bars."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dev.bench import bars, table
from dev.bench.measure import Settings, measure, say
from dev.bench.results import Report
from dev.errors import DevError

AFTER_SIZE = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if `--check` finds a bar that is not kept."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that control plane and operator are stopped
    try:
        report = measure(_settings(options), lambda so_far: _write(so_far, options.json))
    except (DevError, TimeoutError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    found = bars.evaluate(report)
    print(table.render(report, found))
    missed = [bar.name for bar in found if not bar.kept]
    if missed:
        print(f"\n{len(missed)} of {len(found)} bars missed: {'; '.join(missed)}")
    else:
        print(f"\nall {len(found)} bars kept")
    return 1 if missed and options.check else 0


def _write(report: Report, file: Path | None) -> None:
    if file is None:
        return
    document = report.to_json() | {"bars": [{**vars(bar), "kept": bar.kept} for bar in bars.evaluate(report)]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n")


def _settings(options: argparse.Namespace) -> Settings:
    sizes: tuple[int, ...] = options.sizes
    wanted = AFTER_SIZE if AFTER_SIZE in sizes else max(sizes)
    profile = None
    if options.profile is not None:
        profile = Path(options.profile or tempfile.mkdtemp(prefix="slipway-profile-")).resolve()
        profile.mkdir(parents=True, exist_ok=True)
        say(f"profiles go to {profile}")
    return Settings(
        sizes=sizes,
        nodes=options.nodes,
        clients=options.clients,
        baselines=options.baselines,
        repeat=options.repeat,
        after=None if options.only_create else wanted,
        idle_seconds=options.idle_seconds,
        returns=options.returns,
        flags=tuple(options.operator_flag),
        profile=profile,
    )


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) for part in text.split(","))
    if not sizes or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: write sizes like 100,500,1000")
    return sizes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench", description=__doc__)
    add = parser.add_argument
    add("--sizes", type=_sizes, default=(100, 500, 1000), help="how many resources, comma-separated (100,500,1000)")
    add("--nodes", type=int, default=50, help="simulated nodes (50)")
    add(
        "--clients",
        type=int,
        default=16,
        help="requests that the bench has under way at a time, as many as the operator has workers (16)",
    )
    add("--baselines", type=int, default=2, choices=(0, 1, 2), help="runs without the operator, around it (2)")
    add("--repeat", type=int, default=1, choices=(1, 3, 5), help="runs of each size; medians count (1)")
    add("--only-create", action="store_true", help="leave out idling, restart, change and deletion")
    add("--idle-seconds", type=float, default=180, help="how long to watch the idle operator (180)")
    add("--returns", type=int, default=5, help="children to delete of each kind (5)")
    add("--json", type=Path, metavar="FILE", help="write the report there")
    add("--check", action="store_true", help="exit with 1 if a bar is missed")
    add("--operator-flag", action="append", default=[], metavar="FLAG", help="a further flag of the operator")
    add(
        "--profile",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="sample the operator's CPU; print where it goes and keep the stacks in FOLDER",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
