"""The text and the JSON that people and programs read."""

import json

import pytest

from dev.bench.bars import evaluate
from dev.bench.results import Creation, Returns, Run
from dev.bench.table import grid, render
from tests.dev.bench.reports import after, created, report


def test_columns_line_up() -> None:
    text = grid(("", "N = 5"), [("seconds", "1.0"), ("a long name", "100.25")])
    assert text.splitlines() == [
        "|             |  N = 5 |",
        "| ----------- | -----: |",
        "| seconds     |    1.0 |",
        "| a long name | 100.25 |",
    ]


def row(text: str, start: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    assert len(lines) == 1, f"{start!r} is in {len(lines)} lines"
    return [cell.strip() for cell in lines[0].strip("|").split("|")][1:]


def test_numbers_stand_next_to_what_they_are_compared_with() -> None:
    found = report(created(100), created(500))
    text = render(found, evaluate(found))
    assert row(text, "client alone: seconds") == ["28.0 32.0", "28.0 32.0"]
    assert row(text, "operator: seconds to all Ready") == ["36.0", "36.0"]
    assert row(text, "  ratio") == ["1.20 x", "1.20 x"]
    assert row(text, "operator: requests per resource") == ["7.00", "7.00"]
    assert row(text, "operator: CPU ms per resource") == ["15.0", "15.0"]
    assert row(text, "patch deployments ") == ["5.000", "5.000"]
    assert row(text, "deleted Deployment back") == ["0.120, 0.200"]
    assert row(text, "N=500: seconds to all Ready / baseline") == ["1.2 x", "<= 1.5 x", "pass (and <= 1.3)"]


def test_of_several_runs_the_median_counts() -> None:
    runs = [created(500, run=Run(seconds, 0.6, {}), cpu_seconds=cpu) for seconds, cpu in ((60, 6), (36, 9), (42, 7))]
    found = report(Creation.middle(runs))
    text = render(found, evaluate(found))
    assert row(text, "  ratio") == ["1.40 x"]
    assert row(text, "operator: CPU ms per resource") == ["14.0"]
    assert [line.split("|")[2].strip() for line in text.splitlines() if "of each run, the" in line] == [
        "2.00 1.20 1.40",
        "12.00 18.00 14.00",
    ]
    assert row(text, "N=500: operator CPU per resource")[0] == "14 ms"
    derived = found.to_json()["creations"][0]["derived"]
    assert (derived["ratios"], derived["cpu_millis"]) == ([2.0, 1.2, 1.4], [12.0, 18.0, 14.0])


def test_a_missed_bar_says_so() -> None:
    found = report(created(peak_mib=130.0))
    assert row(render(found, evaluate(found)), "N=500: operator peak memory") == ["130 MiB", "<= 110 MiB", "FAIL"]


def test_a_report_of_creations_alone_has_a_table() -> None:
    found = report(created(5), after=None)
    assert "idle" not in render(found, evaluate(found))


def test_without_a_client_alone_there_is_no_ratio() -> None:
    found = report(created(5, baselines=()), after=None)
    bars = evaluate(found)
    assert row(render(found, bars), "  ratio") == ["-"]
    assert not [bar for bar in bars if "baseline" in bar.name]
    assert found.to_json()["creations"][0]["derived"]["ratio"] is None


def test_json_carries_measured_and_derived_numbers() -> None:
    document = json.loads(json.dumps(report(created(500)).to_json()))
    [creation] = document["creations"]
    assert creation["derived"] == {
        "baseline_seconds": pytest.approx(30.0),
        "ratio": pytest.approx(1.2),
        "requests_each": 7.0,
        "writes_each": 7.0,
        "cpu_millis_each": pytest.approx(15.0),
    }
    assert creation["requests"]["requests"]["patch deployments"] == 2500
    assert document["after"]["returns"]["seconds"]["Service"] == [0.08, 0.09, 0.11]


def test_times_over_all_kinds() -> None:
    times = Returns({"Deployment": (0.1, 0.3), "Service": (0.2,)})
    assert (times.median, times.longest) == (0.2, 0.3)
    assert after(returns=None).returns is None
