"""The command line, read as the C++ server reads it."""

import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.config import flags
from model_server.config.options import Options, schedulable_cpus
from tests.model_server.harness import run


def options(*arguments: str) -> Options:
    parsed = flags.parse(arguments)
    assert not parsed.problems
    assert not parsed.unknown
    return parsed.options


def test_there_are_48_flags_each_with_a_help_text() -> None:
    names = [field.name for field in fields(Options)]
    assert len(names) == 48
    assert set(flags.HELP) == set(names)
    assert set(flags.WITHOUT_EFFECT) <= set(names)


def test_defaults_are_those_of_the_contract() -> None:
    default = options()
    assert (default.port, default.rest_api_port, default.model_name) == (8500, 0, "default")
    assert default.rest_api_num_threads == default.grpc_max_threads == 4 * schedulable_cpus()
    assert (default.max_num_load_retries, default.load_retry_interval_micros) == (5, 60_000_000)
    assert (default.saved_model_tags, default.enable_model_warmup, default.enable_profiler) == ("serve", True, True)


@pytest.mark.parametrize(
    ("argument", "name", "expected"),
    [
        ("--port=1", "port", 1), ("--port= +7", "port", 7), ("--port=-1", "port", -1),
        ("--enable_batching", "enable_batching", True), ("--enable_batching=true", "enable_batching", True),
        ("--enable_model_warmup=false", "enable_model_warmup", False),
        ("--model_name=", "model_name", ""), ("--model_name=a=b", "model_name", "a=b"),
        ("--per_process_gpu_memory_fraction=0.25", "per_process_gpu_memory_fraction", 0.25),
        ("--load_retry_interval_micros=9000000000", "load_retry_interval_micros", 9_000_000_000),
    ],
)  # fmt: skip
def test_values(argument: str, name: str, expected: object) -> None:
    assert getattr(options(argument), name) == expected


def test_the_last_of_a_repeated_flag_wins() -> None:
    assert options("--port=1", "--port=2").port == 2


@pytest.mark.parametrize(
    "argument",
    ["--port=", "--port=x", "--port=1x", "--port=1 ", "--port=0x10", "--port=99999999999", "--enable_batching=1",
     "--enable_batching=True", "--enable_batchingx", "--versions", "--per_process_gpu_memory_fraction=a",
     "--load_retry_interval_micros=1.5"],
)  # fmt: skip
def test_bad_values(argument: str) -> None:
    parsed = flags.parse([argument])
    assert parsed.usage_wanted
    assert parsed.problems[0].startswith("Couldn't interpret value ")


def test_what_is_not_a_flag_is_remembered_and_ignored() -> None:
    parsed = flags.parse(["--port", "8500", "-port=1", "--nope=1", "--model_name=m", "--", "--port=9"])
    assert parsed.unknown == ("--port", "8500", "-port=1", "--nope=1", "--", "--port=9")
    assert (parsed.options.port, parsed.options.model_name) == (8500, "m")
    assert not parsed.usage_wanted


@given(st.lists(st.text(max_size=40), max_size=5))
def test_no_command_line_makes_the_parser_fail(arguments: list[str]) -> None:
    flags.parse(arguments)
    flags.parse([f"--port={text}" for text in arguments])


def test_usage_has_a_line_for_each_flag_with_type_and_default() -> None:
    text = flags.usage("tensorflow_model_server")
    assert text.startswith("usage: tensorflow_model_server\nFlags:\n")
    assert "\t--port=8500                      \tint32\t" in text
    assert '\t--saved_model_tags="serve"       \tstring\t' in text
    assert "\t--per_process_gpu_memory_fraction=0.000000\tfloat\t" in text
    assert len(re.findall(r"^\t--", text, re.MULTILINE)) == 48


def test_flags_without_effect_are_named_only_when_set() -> None:
    assert flags.ignored(options()) == []
    (sentence,) = flags.ignored(options("--num_unload_threads=3"))
    assert sentence.startswith("--num_unload_threads has no effect in this server: ")


def test_version_prints_two_lines_and_exits_with_0() -> None:
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout == "TensorFlow ModelServer: 2.20.0\nTensorFlow Library: 2.21.0\n"


@pytest.mark.parametrize("argument", ["--help", "--port=abc"])
def test_help_and_bad_values_print_the_usage_and_exit_with_255(argument: str) -> None:
    done = run(argument)
    assert done.returncode == 255
    assert done.stdout.startswith("usage: tensorflow_model_server\n")
