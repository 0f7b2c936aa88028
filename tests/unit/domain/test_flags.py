"""Flags are checked against the version that will run, because the server itself goes on with what it does not know."""

import pytest

from slipway.api import Gpu, Reason, Runtime
from slipway.domain import flags, servers
from slipway.domain.flags import FLAGS
from tests.kit.builders import DEFAULTS


def problems(runtime: Runtime) -> list[tuple[Reason, str]]:
    return [
        (problem.reason, problem.message) for problem in flags.check(runtime, servers.version_of(runtime, DEFAULTS))
    ]


def test_the_table_has_every_flag_of_the_server_once() -> None:
    assert len(FLAGS) == 48


def test_good_flags_are_accepted() -> None:
    args = {
        "num_load_threads": "4",
        "load_retry_interval_micros": "-1",
        "enable_model_warmup": "false",
        "saved_model_tags": "serve,gpu",
        "mixed_precision": "bfloat16",
        "grpc_channel_arguments": "grpc.max_concurrent_streams=10,grpc.http2.max_pings_without_data=0",
        "enable_serialization_as_tensor_content": "true",
    }
    assert problems(Runtime(args=args)) == []


@pytest.mark.parametrize(
    ("flag", "value", "text"),
    [
        ("port", "9000", "Slipway sets it, so that Services and probes find the server"),
        ("rest_api_port", "0", "Slipway sets it"),
        ("model_name", "x", "use spec.runtime.modelName instead"),
        ("model_base_path", "/x", "Slipway sets it from spec.model"),
        ("model_config_file", "/x", "create another ModelDeployment"),
        ("monitoring_config_file", "/x", "metrics"),
        ("enable_batching", "true", "use spec.runtime.batching instead"),
        ("batching_parameters_file", "/x", "use spec.runtime.batching instead"),
        ("num_request_iterations_for_warmup", "1", "use spec.runtime.warmup.iterations instead"),
        ("per_process_gpu_memory_fraction", "0.5", "use spec.gpu.memoryFraction instead"),
        ("file_system_poll_wait_seconds", "1", "change spec.model instead"),
        ("enable_grpc_healthcheck_service", "false", "the probes need it"),
        ("ssl_config_file", "/x", "plain gRPC"),
        ("version", "true", "prints the version and exits"),
    ],
)
def test_flags_that_other_fields_set_are_refused(flag: str, value: str, text: str) -> None:
    [(reason, message)] = problems(Runtime(args={flag: value}))
    assert reason is Reason.INVALID_SPEC
    assert message.startswith(f"spec.runtime.args.{flag}: ")
    assert text in message


@pytest.mark.parametrize(
    ("flag", "value", "text"),
    [
        ("num_load_threads", "four", "'four' is not a whole number from -2147483648 to 2147483647"),
        ("num_load_threads", "2147483648", "is not a whole number"),
        ("num_load_threads", "1.0", "is not a whole number"),
        ("num_load_threads", "", "is not a whole number"),
        ("num_load_threads", "\u0663", "is not a whole number"),
        ("load_retry_interval_micros", "9223372036854775808", "is not a whole number"),
        ("enable_profiler", "yes", "'yes' is not true or false"),
        ("enable_profiler", "True", "is not true or false"),
        ("mixed_precision", "float16", "is not one of bfloat16"),
        ("saved_model_tags", "serve\u2028x", "control characters"),
        ("grpc_channel_arguments", "lonely", "'lonely' is not NAME=VALUE"),
        ("grpc_channel_arguments", "a=1,", "'' is not NAME=VALUE"),
        ("grpc_channel_arguments", "grpc.max_connection_age_ms=1", "is set by Slipway"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(flag: str, value: str, text: str) -> None:
    [(reason, message)] = problems(Runtime(args={flag: value}))
    assert reason is Reason.INVALID_SPEC
    assert text in message


def test_a_misspelt_flag_is_reported_with_its_neighbours() -> None:
    [(reason, message)] = problems(Runtime(args={"num_load_thread": "4"}))
    assert reason is Reason.UNKNOWN_FLAG
    assert message.startswith(
        "spec.runtime.args.num_load_thread: the server has no such flag: did you mean num_load_threads"
    )


def test_a_flag_that_slipway_sets_is_never_proposed() -> None:
    [(_, message)] = problems(Runtime(args={"model_nam": "x"}))
    assert "model_name" not in message


def test_a_flag_like_no_other_is_to_be_removed() -> None:
    assert problems(Runtime(args={"zzzzqqq": "x"})) == [
        (Reason.UNKNOWN_FLAG, "spec.runtime.args.zzzzqqq: the server has no such flag: remove it")
    ]


@pytest.mark.parametrize(
    ("version", "flag", "known"),
    [
        ("2.18.0", "enable_serialization_as_tensor_content", False),
        ("2.19.0", "enable_serialization_as_tensor_content", True),
        ("2.17.1", "xla_gpu_compilation_enabled", False),
        ("2.18.0", "xla_gpu_compilation_enabled", True),
        ("2.10.1", "enable_per_model_batching_parameters", False),
        ("2.11.0", "enable_per_model_batching_parameters", True),
        ("3.0.0", "enable_serialization_as_tensor_content", True),
    ],
)
def test_flags_by_version(version: str, flag: str, known: bool) -> None:  # noqa: FBT001
    found = problems(Runtime(version=version, args={flag: "true"}))
    assert found == [] if known else found[0][0] is Reason.UNKNOWN_FLAG
    if not known:
        assert f"version {version} of the server does not have it" in found[0][1]


def test_an_image_of_ones_own_is_held_against_the_newest_table() -> None:
    runtime = Runtime(image="registry/own:1.0", args={"enable_serialization_as_tensor_content": "true"})
    assert problems(runtime) == []
    assert flags.supports(servers.version_of(runtime, DEFAULTS), "enable_grpc_healthcheck_service")


def test_warm_up_needs_a_server_that_has_it() -> None:
    runtime = Runtime.model_validate({"version": "2.7.0", "warmup": {}})
    [(reason, message)] = problems(runtime)
    assert reason is Reason.INVALID_SPEC
    assert message.startswith(
        "spec.runtime.warmup: version 2.7.0 of the server does not have it, 2.8 is the first that does"
    )


def test_every_fault_is_reported_in_the_order_of_names() -> None:
    found = problems(Runtime(args={"zzzzqqq": "1", "port": "1", "enable_profiler": "x"}))
    assert [message.split(":")[0].rpartition(".")[2] for _, message in found] == ["enable_profiler", "port", "zzzzqqq"]


@pytest.mark.parametrize(
    ("runtime", "gpu", "image"),
    [
        (Runtime(), None, "tensorflow/serving:2.20.0"),
        (Runtime(version="2.18.1"), None, "tensorflow/serving:2.18.1"),
        (Runtime(), Gpu(), "tensorflow/serving:2.20.0-gpu"),
        (Runtime(), Gpu(mig="1g.10gb"), "tensorflow/serving:2.20.0-gpu"),
        (Runtime(), Gpu(resource_name="nvidia.com/gpu.shared"), "tensorflow/serving:2.20.0-gpu"),
        (Runtime(), Gpu(resource_name="amd.com/gpu"), "tensorflow/serving:2.20.0"),
        (Runtime(image="own:1"), Gpu(), "own:1"),
    ],
)
def test_images(runtime: Runtime, gpu: Gpu | None, image: str) -> None:
    assert servers.server_image(runtime, gpu, DEFAULTS) == image


@pytest.mark.parametrize(
    ("gpu", "resource"),
    [
        (Gpu(), "nvidia.com/gpu"),
        (Gpu(mig="1g.10gb"), "nvidia.com/mig-1g.10gb"),
        (Gpu(resource_name="amd.com/gpu"), "amd.com/gpu"),
    ],
)
def test_resources_of_gpus(gpu: Gpu, resource: str) -> None:
    assert servers.gpu_resource(gpu) == resource
