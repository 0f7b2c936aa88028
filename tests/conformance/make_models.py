"""Makes the folder that a server under test serves: `python -m tests.conformance.make_models DIRECTORY [SERVED_AS]`.

SERVED_AS is where the server finds DIRECTORY (a mount in its container); by default the same path. Beside the models it holds
the files that `FLAGS` name. The flags are printed, for a command line.
"""

import shutil
import sys
from pathlib import Path

#: What the server under test must be started with, beside its ports; DIR stands for SERVED_AS.
FLAGS = (
    "--model_config_file=DIR/models.config",
    "--monitoring_config_file=DIR/monitoring.config",
    "--allow_version_labels_for_unavailable_models=true",
    "--file_system_poll_wait_seconds=0",
    "--enable_grpc_healthcheck_service=true",
    "--rest_api_enable_cors_support=true",
    "--enable_batching=true",
    "--enable_per_model_batching_parameters=true",
)
QUEUE = """max_batch_size { value: 2 }
batch_timeout_micros { value: 500000 }
max_enqueued_batches { value: 100 }
num_batch_threads { value: 1 }
allowed_batch_sizes: 2
"""
CONFIG = """model_config_list {
  config { name: "half" base_path: "DIR/half" model_platform: "tensorflow"
           model_version_policy { specific { versions: 1 versions: 3 } }
           version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 3 } }
  config { name: "kitchen" base_path: "DIR/kitchen" model_platform: "tensorflow" }
  config { name: "examples" base_path: "DIR/examples" model_platform: "tensorflow" }
  config { name: "queue" base_path: "DIR/queue" model_platform: "tensorflow" }
}
"""


def flags(served_as: object) -> list[str]:
    """The flags of a server that finds the folder at `served_as`."""
    return [flag.replace("DIR", str(served_as)) for flag in FLAGS]


def main(target: Path, served_as: str) -> None:
    """Write models and configuration below `target`."""
    from tests.model_server import make_models as parts  # noqa: PLC0415  TensorFlow: ten seconds for those who want FLAGS

    parts.half_plus_two(target / "half" / "1")
    for version in ("2", "00000003"):  # 2 is not requested; a name with leading zeros is a number too
        shutil.copytree(target / "half" / "1", target / "half" / version)
    parts.kitchen(target / "kitchen" / "1")
    parts.examples(target / "examples" / "1")
    shutil.copytree(target / "kitchen" / "1", target / "queue" / "1")
    (target / "queue" / "1" / "batching_params.pbtxt").write_text(QUEUE)
    (target / "models.config").write_text(CONFIG.replace("DIR", served_as))
    page = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'
    (target / "monitoring.config").write_text(page)
    print(*flags(served_as))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else sys.argv[1])
