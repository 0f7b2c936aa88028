"""Bodies of ModelDeployments, good and bad, with the words that a user must find. Admission and the operator share them."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from slipway.api import ModelDeploymentSpec, parse_spec

Body = dict[str, Any]
_REMOVE = object()


def parse(body: Body) -> ModelDeploymentSpec:
    """The typed spec of a body, as the operator reads it."""
    return parse_spec(body.get("metadata", {}).get("name", "unnamed"), body.get("spec"))


@dataclass(frozen=True)
class Bad:
    """A body that must be refused.

    `says`: words of the message, wherever it is refused. `operator_says`: other words where the operator's message
    cannot be the same, because the API server words structural errors by itself."""

    name: str
    body: Body
    says: tuple[str, ...]
    operator_says: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def body(name: str = "digits", **spec: Any) -> Body:
    """A valid body with fields of the spec put into it."""
    base: Body = {"model": {"uri": "pvc://models/digits"}}
    return {
        "apiVersion": "serving.slipway.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": base | deepcopy(spec),
    }


def _model(**fields: Any) -> Body:
    return body(model={"uri": "pvc://models/digits", **fields})


def _uri(uri: Any) -> Body:
    return body(model={"uri": uri})


def _pod(**fields: Any) -> Body:
    return body(podTemplate=fields)


def _autoscaling(requests: Any = None, **fields: Any) -> Body:
    return body(autoscaling={"maxReplicas": 4} | fields, resources={"requests": requests or {"cpu": "1"}})


def _gate(**fields: Any) -> Body:
    return body(rollout={"gate": {"golden": {"configMap": "golden"}} | fields})


def _golden(**fields: Any) -> Body:
    return body(rollout={"gate": {"golden": fields}})


def _bounds(**metrics: Any) -> Body:
    return _gate(metrics=metrics)


DIGEST = "sha256:" + "0123456789abcdef" * 4
NOTATION = ("spec.model.digest", "is not a digest: write sha256: and 64 hexadecimal digits in lower case")
UNKNOWN_SCHEME = ("spec.model.uri has an unknown scheme", "use pvc://CLAIM/PATH")
CREDENTIALS = ("spec.model.uri must not carry credentials", "remove them")
DOT_DOT = ("spec.model.uri must not contain '..'", "write the path without it")
INCOMPLETE = ("spec.model.uri is incomplete", "use pvc://CLAIM/PATH")
ONE_GOLDEN = ("spec.rollout.gate.golden: exactly one of configMap, uri and path",)
UNKNOWN_METRIC = ("spec.rollout.gate: unknown metric", "use accuracy, topKAccuracy")
DIRECTION = ("spec.rollout.gate: accuracy, topKAccuracy, matches need a lower bound",)
SHARE = ("must be above 0 and at most 1",)
BOUND = ("spec.rollout.gate.metrics.accuracy",)
GOLDEN_PATH = ("spec.rollout.gate.golden.path",)
TWO_CHECKS = ("spec.rollout.gate: two checks have the same signature and output",)
LABEL = ("spec.podTemplate.labels", "set by Slipway")
EXCLUSIVE = ("spec.runtime.version and spec.runtime.image exclude each other", "keep the one that you mean")
NAME_FORM = ("metadata.name must start with a letter", "write my-model")
CPU_IMAGE = ("spec.gpu requests a GPU but spec.runtime.image is a CPU build", "use its -gpu tag")
REQUESTS = ("spec.autoscaling needs spec.resources.requests.cpu",)
ORDER = ("spec.autoscaling.minReplicas must not be above spec.autoscaling.maxReplicas",)

BAD = (
    # the name
    Bad("name too long", body("m" * 53), ("metadata.name is too long", "at most 52 characters")),
    Bad("name with a dot", body("my.model"), NAME_FORM),
    Bad("name with a leading digit", body("1model"), NAME_FORM),
    # fields that do not exist
    Bad("misspelt field", body(replica=2), ('unknown field "spec.replica"',), ("spec.replica:",)),
    Bad("misspelt nested field", _model(verison=3), ('unknown field "spec.model.verison"',), ("spec.model.verison:",)),
    Bad("field for later", body(canary={}), ('unknown field "spec.canary"',), ("spec.canary:",)),
    Bad(
        "a pod's field",
        _pod(hostNetwork=True),
        ('unknown field "spec.podTemplate.hostNetwork"',),
        ("spec.podTemplate.hostNetwork:",),
    ),
    # fields that are missing
    Bad("no model", {**body(), "spec": {}}, ("spec.model", "Required"), ("spec.model: Field required",)),
    Bad("no uri", body(model={}), ("spec.model.uri", "Required"), ("spec.model.uri: Field required",)),
    Bad(
        "no maxReplicas",
        body(autoscaling={}),
        ("spec.autoscaling.maxReplicas", "Required"),
        ("spec.autoscaling.maxReplicas: Field required",),
    ),
    # types
    Bad("text for a number", body(replicas="2"), ("spec.replicas", "integer")),
    Bad("fraction for a number", body(replicas=1.5), ("spec.replicas", "integer")),
    Bad(
        "truth for a number",
        body(replicas=True),
        ("spec.replicas", "must be of type int32"),
        ("spec.replicas", "integer"),
    ),
    Bad("number for text", _uri(5), ("spec.model.uri", "string")),
    Bad("number for a version", body(runtime={"version": 2.2}), ("spec.runtime.version", "string")),
    Bad(
        "number for a flag",
        body(runtime={"args": {"num_load_threads": 4}}),
        ("spec.runtime.args.num_load_threads", "string"),
    ),
    Bad("list for an object", body(model=["pvc://a/b"]), ("spec.model", "object")),
    Bad(
        "object for a list",
        _pod(tolerations={}),
        ("spec.podTemplate.tolerations", "array"),
        ("spec.podTemplate.tolerations", "array"),
    ),
    Bad("text for a spec", {**body(), "spec": "digits"}, ("spec", "object")),
    Bad(
        "fraction for a quantity", body(resources={"requests": {"cpu": 0.5}}), ("spec.resources.requests.cpu", "string")
    ),
    Bad("truth for a quantity", body(resources={"limits": {"cpu": True}}), ("spec.resources.limits.cpu", "string")),
    # values
    Bad("negative count", body(replicas=-1), ("spec.replicas", "greater than or equal to 0")),
    Bad("huge count", body(replicas=1001), ("spec.replicas", "less than or equal to 1000")),
    Bad(
        "unknown strategy",
        body(rollout={"strategy": "Fast"}),
        ("spec.rollout.strategy", "Fast", '"Auto", "Surge", "TerminateFirst"'),
        ("spec.rollout.strategy", "'Auto', 'Surge' or 'TerminateFirst'"),
    ),
    Bad("no deadline", body(rollout={"progressDeadline": "soon"}), ("spec.rollout.progressDeadline",)),
    Bad("bare number as a deadline", body(rollout={"progressDeadline": "600"}), ("spec.rollout.progressDeadline",)),
    Bad(
        "deadline of nothing",
        body(rollout={"progressDeadline": "0m0s"}),
        ("spec.rollout.progressDeadline must be at least 10s",),
    ),
    Bad(
        "deadline shorter than a probe takes",
        body(rollout={"progressDeadline": "9s"}),
        ("spec.rollout.progressDeadline must be at least 10s",),
    ),
    Bad(
        "deadline of days",
        body(rollout={"progressDeadline": "24h1s"}),
        ("spec.rollout.progressDeadline must be at least 10s", "at most 24h"),
    ),
    Bad(
        "unknown end of a failure",
        body(rollout={"onFailure": "Panic"}),
        ("spec.rollout.onFailure", "Panic", '"Rollback", "Pause"'),
        ("spec.rollout.onFailure", "'Rollback' or 'Pause'"),
    ),
    Bad("no revision", body(pinnedRevision=0), ("spec.pinnedRevision", "greater than or equal to 1")),
    Bad("deadline of ages", body(rollout={"progressDeadline": "9999999h"}), ("spec.rollout.progressDeadline",)),
    Bad("negative quantity", body(resources={"requests": {"cpu": "-1"}}), ("spec.resources.requests.cpu",)),
    Bad("no quantity", body(resources={"requests": {"memory": "1 GB"}}), ("spec.resources.requests.memory",)),
    Bad("version below zero", _model(version=-1), ("spec.model.version", "greater than or equal to 0")),
    Bad(
        "version beyond int64",
        _model(version="9223372036854775808"),
        ("spec.model.version", "from 0 to 9223372036854775807"),
        ("spec.model.version", "less than or equal to 9223372036854775807"),
    ),
    Bad(
        "version beyond int64 as a number",
        _model(version=9223372036854775808),
        ("spec.model.version",),
        ("spec.model.version", "less than or equal to 9223372036854775807"),
    ),
    Bad("version in words", _model(version="latest"), ("spec.model.version",)),
    Bad("version with a sign", _model(version="-1"), ("spec.model.version",)),
    Bad("digest without its kind", _model(digest="0" * 64), ("spec.model.digest", "^sha256:"), operator_says=NOTATION),
    Bad("digest in capitals", _model(digest=DIGEST.upper()), ("spec.model.digest", "^sha256:"), operator_says=NOTATION),
    Bad("short digest", _model(digest=DIGEST[:-1]), ("spec.model.digest", "^sha256:"), operator_says=NOTATION),
    # where the model is
    Bad("unknown scheme", _uri("ftp://host/model.tar"), UNKNOWN_SCHEME),
    Bad("local path", _uri("/models/digits"), UNKNOWN_SCHEME),
    Bad("file scheme", _uri("file:///etc/shadow"), UNKNOWN_SCHEME),
    Bad("scheme in capitals", _uri("HTTPS://host/model.tar"), UNKNOWN_SCHEME),
    Bad("credentials", _uri("https://user:secret@host/model.tar"), CREDENTIALS),
    Bad("user", _uri("https://token@host/model.tar"), CREDENTIALS),
    Bad("dot-dot inside", _uri("pvc://models/a/../b"), DOT_DOT),
    Bad("dot-dot at the end", _uri("pvc://models/.."), DOT_DOT),
    Bad("dot-dot with backslashes", _uri("https://host/a\\..\\b"), DOT_DOT),
    Bad("encoded dot-dot", _uri("https://host/a/%2e%2E/b"), DOT_DOT),
    Bad("space", _uri("https://host/my model.tar"), ("spec.model.uri must not contain white space",)),
    Bad("line break", _uri("pvc://models/digits\n"), ("spec.model.uri must not contain white space",)),
    Bad("encoded null", _uri("pvc://models/a%00b"), ("spec.model.uri must not contain", "control characters")),
    Bad("encoded delete", _uri("pvc://models/a%7Fb"), ("spec.model.uri must not contain", "control characters")),
    Bad("no claim", _uri("pvc:///digits"), INCOMPLETE),
    Bad("claim in capitals", _uri("pvc://Models/digits"), INCOMPLETE),
    Bad("no host", _uri("https://"), INCOMPLETE),
    Bad("empty uri", _uri(""), ("spec.model.uri",)),
    Bad("endless uri", _uri("https://host/" + "a" * 2048), ("spec.model.uri", "2048")),
    # the server
    Bad("version and image", body(runtime={"version": "2.20.0", "image": "me/server:1"}), EXCLUSIVE),
    Bad("version with a tag", body(runtime={"version": "2.20.0-gpu"}), ("spec.runtime.version",)),
    Bad("image with a space", body(runtime={"image": "me/server :1"}), ("spec.runtime.image",)),
    Bad("image with a non-ASCII space", body(runtime={"image": "me/server\u00a01"}), ("spec.runtime.image",)),
    Bad(
        "flag with dashes",
        body(runtime={"args": {"--num_load_threads": "4"}}),
        ("spec.runtime.args: a flag is named without dashes",),
    ),
    Bad(
        "flag with a line break",
        body(runtime={"args": {"num_load_threads\n": "4"}}),
        ("spec.runtime.args: a flag is named without dashes",),
    ),
    *(
        Bad(
            f"flag with {what} in its value",
            body(runtime={"args": {"saved_model_tags": f"serve{character}"}}),
            ("spec.runtime.args", "saved_model_tags", "must not contain control characters", "remove them"),
            ("spec.runtime.args: the value must not contain control characters", "remove them"),
        )
        for what, character in {
            "a null": "\0",
            "a line break": "\n",
            "a delete": "\x7f",
            "a C1 control": "\x85",
        }.items()
    ),
    *(
        Bad(
            f"served name {what}",
            body(runtime={"modelName": name}),
            ("spec.runtime.modelName must not contain '/', ':' or control characters",),
        )
        for what, name in {
            "with a slash": "team/model",
            "with a colon": "model:predict",
            "with a line break": "model\n",
            "that begins with a space": " model",
            "that ends with a space": "model ",
            "that is a dot": ".",
            "that is two dots": "..",
        }.items()
    ),
    Bad("empty served name", body(runtime={"modelName": ""}), ("spec.runtime.modelName",)),
    Bad("endless served name", body(runtime={"modelName": "m" * 201}), ("spec.runtime.modelName", "200")),
    Bad(
        "batch of nothing", body(runtime={"batching": {"maxBatchSize": 0}}), ("spec.runtime.batching.maxBatchSize", "1")
    ),
    # GPUs
    Bad("GPU with a CPU image", body(gpu={"count": 1}, runtime={"image": "tensorflow/serving:2.20.0"}), CPU_IMAGE),
    Bad(
        "GPU with a CPU image from a registry",
        body(gpu={}, runtime={"image": "host:5000/tensorflow/serving:2.20.0"}),
        CPU_IMAGE,
    ),
    Bad("GPU with an untagged image", body(gpu={}, runtime={"image": "tensorflow/serving"}), CPU_IMAGE),
    Bad("no GPU", body(gpu={"count": 0}), ("spec.gpu.count", "1")),
    Bad("all of the memory and more", body(gpu={"memoryFraction": 1.5}), ("spec.gpu.memoryFraction", "1")),
    Bad("none of the memory", body(gpu={"memoryFraction": 0}), ("spec.gpu.memoryFraction", "greater than 0")),
    Bad(
        "slice and resource",
        body(gpu={"mig": "1g.10gb", "resourceName": "amd.com/gpu"}),
        ("spec.gpu.mig and spec.gpu.resourceName exclude each other",),
    ),
    Bad("no slice", body(gpu={"mig": "huge"}), ("spec.gpu.mig",)),
    # scaling
    Bad("minReplicas above maxReplicas", _autoscaling(minReplicas=5), ORDER),
    Bad("autoscaling without requests", body(autoscaling={"maxReplicas": 4}), REQUESTS),
    Bad(
        "autoscaling on memory without its request", _autoscaling(metrics=[{"type": "Memory", "target": 80}]), REQUESTS
    ),
    Bad(
        "autoscaling on an unknown metric",
        _autoscaling(metrics=[{"type": "Love", "target": 1}]),
        ("spec.autoscaling.metrics", "Love"),
        ("spec.autoscaling.metrics", "'CPU' or 'Memory'"),
    ),
    Bad("autoscaling on nothing", _autoscaling(metrics=[]), ("spec.autoscaling.metrics", "at least 1")),
    # the gate
    Bad("gate without a golden set", body(rollout={"gate": {}}), ("spec.rollout.gate.golden", "equired")),
    Bad("golden set from nowhere", _golden(), ONE_GOLDEN),
    Bad("golden set from two places", _golden(configMap="golden", path="a.npz"), ONE_GOLDEN),
    Bad("key without a ConfigMap", _golden(path="a.npz", key="a"), ("it needs golden.configMap",)),
    Bad("digest without a file", _golden(configMap="golden", digest=DIGEST), ("it needs golden.uri",)),
    Bad(
        "golden set of an unknown scheme", _golden(uri="ftp://host/a"), ("spec.rollout.gate.golden.uri has an unknown",)
    ),
    Bad("golden set with credentials", _golden(uri="https://a:b@host/a"), ("golden.uri must not carry credentials",)),
    Bad("golden set outside the model", _golden(path="a/../../b"), GOLDEN_PATH),
    Bad("golden set anywhere", _golden(path="/etc/passwd"), GOLDEN_PATH),
    Bad("golden set with a line break", _golden(path="a\nb"), GOLDEN_PATH),
    Bad("unknown metric", _bounds(acuracy=">=0.9"), UNKNOWN_METRIC),
    Bad("unknown metric of a check", _gate(checks=[{"metrics": {"f1": ">=0.9"}}]), UNKNOWN_METRIC),
    Bad("accuracy from above", _bounds(accuracy="<=0.9"), DIRECTION),
    Bad("latency from below", _bounds(p99LatencyMillis=">=5"), DIRECTION),
    Bad("accuracy above one", _bounds(accuracy=">=95"), SHARE),
    Bad("accuracy that always holds", _bounds(accuracy=">= 0"), SHARE),
    Bad("no latency at all", _bounds(p50LatencyMillis="<=0.0"), ("a latency of 0 ms is never reached",)),
    Bad("bound without its direction", _bounds(accuracy="0.9"), BOUND),
    Bad("two bounds in one", _bounds(accuracy=">=0.9 <=1"), BOUND),
    Bad("infinite bound", _bounds(accuracy=">=inf"), BOUND),
    Bad("bound that is no number", _bounds(accuracy=">=nan"), BOUND),
    Bad("bound beyond all numbers", _bounds(loss="<=1e999"), ("spec.rollout.gate.metrics.loss",)),
    Bad("negative bound", _bounds(loss="<=-1"), ("spec.rollout.gate.metrics.loss",)),
    Bad("number for a bound", _bounds(accuracy=0.9), ("spec.rollout.gate.metrics.accuracy", "string")),
    Bad("check of nothing", _gate(checks=[{"output": "y", "metrics": {}}]), ("spec.rollout.gate.checks", "at least 1")),
    Bad("check twice", _gate(checks=[{"output": "y", "metrics": {"loss": "<=1"}}] * 2), TWO_CHECKS),
    Bad(
        "check of what metrics are of",
        _gate(metrics={"accuracy": ">=0.9"}, checks=[{"signature": "serving_default", "metrics": {"loss": "<=1"}}]),
        TWO_CHECKS,
    ),
    Bad("negative tolerance", _gate(tolerance={"absolute": -1}), ("spec.rollout.gate.tolerance.absolute",)),
    Bad("best of one", _gate(topK=1), ("spec.rollout.gate.topK", "2")),
    Bad("batch of no example", _gate(batchSize=0), ("spec.rollout.gate.batchSize", "1")),
    Bad("no time for an answer", _gate(timeout="0s"), ("spec.rollout.gate.timeout must be between 1s and 10m",)),
    Bad("checked all the time", _gate(interval="1s"), ("spec.rollout.gate.interval must be between 10s and 24h",)),
    # names that fields had before
    Bad("former name of the interval", _gate(every="10m"), ("use spec.rollout.gate.interval",)),
    Bad("former name of a limit", body(rollout={"historyLimit": 3}), ("use spec.rollout.revisionHistoryLimit",)),
    # the pods
    Bad("label of Slipway", _pod(labels={"serving.slipway.dev/name": "other"}), LABEL),
    Bad("label of the pod's controller", _pod(labels={"pod-template-hash": "1"}), LABEL),
    Bad("value that is no label's", _pod(labels={"team": "a b"}), ("spec.podTemplate.labels.team",)),
    Bad(
        "resources of a container that are no quantity",
        _pod(proberResources={"limits": {"cpu": "much"}}),
        ("spec.podTemplate.proberResources.limits",),
    ),
    Bad("unknown effect", _pod(tolerations=[{"effect": "NoWay"}]), ("spec.podTemplate.tolerations", "NoSchedule")),
    Bad(
        "too many pull secrets",
        _pod(imagePullSecrets=[{"name": f"s{i}"} for i in range(9)]),
        ("spec.podTemplate.imagePullSecrets", "8"),
    ),
)

GOOD = {
    "smallest": body(),
    "longest name": body("m" * 52),
    "one letter": body("m"),
    "folder of a claim": _uri("pvc://my.claim-1/a/b..c/d"),
    "whole claim": _uri("pvc://models"),
    "archive": _uri("https://host:8443/path/model.tar.gz?version=1#top"),
    "at sign in a path": _uri("http://host/a@b/model.zip"),
    "pinned": _model(version=3, digest=DIGEST),
    "version zero": _model(version=0),
    "version as a text": _model(version="3"),
    "version of nanoseconds": _model(version=1764358400123456789),
    "highest version": _model(version="9223372036854775807"),
    "highest version as a number": _model(version=9223372036854775807),
    "runtime": body(
        runtime={
            "version": "2.20.0",
            "batching": {"maxBatchSize": 64},
            "warmup": {},
            "args": {"num_load_threads": "4", "saved_model_tags": "ser ve,\u00e9\u2603"},
        },
        resources={"requests": {"cpu": 1, "memory": "1.5Gi"}, "limits": {"memory": "2e9"}},
    ),
    "served name": body(runtime={"modelName": "half_plus_two"}),
    "served name of other characters": body(runtime={"modelName": "Res-Net.v1 $(50)?#%\u00e9\u2603"}),
    "longest served name": body(runtime={"modelName": "m" * 200}),
    "image by digest": body(runtime={"image": f"host:5000/me/server:1.2@{DIGEST}"}),
    "GPU": body(gpu={"count": 2, "product": "NVIDIA-A100-SXM4-80GB", "memoryFraction": 0.9}),
    "GPU with its image": body(gpu={}, runtime={"image": "tensorflow/serving:2.20.0-gpu"}),
    "slice": body(gpu={"mig": "1g.10gb"}),
    "other maker": body(gpu={"resourceName": "amd.com/gpu"}, runtime={"image": "me/rocm-serving:1"}),
    "autoscaled": _autoscaling(),
    "autoscaled on both": _autoscaling(
        {"cpu": "500m", "memory": "1Gi"},
        minReplicas=4,
        metrics=[{"type": "CPU", "target": 70}, {"type": "Memory", "target": 80}],
    ),
    "gate": _gate(
        signature="predict",
        output="probabilities",
        metrics={"accuracy": ">=0.95", "p99LatencyMillis": "<= 50", "loss": "<=1e-2"},
        checks=[{"metrics": {"maxAbsoluteError": "<=1e-3"}}, {"output": "embedding", "metrics": {"matches": ">=1"}}],
        tolerance={"absolute": 0.5},
        interval="10m",
    ),
    "golden file": _golden(uri="https://host/golden.npz", digest=DIGEST),
    "golden file in the model": _golden(path="assets.extra/golden-1.npz"),
    "two outputs of one signature": _gate(
        checks=[{"output": "a", "metrics": {"loss": "<=1"}}, {"output": "b", "metrics": {"loss": "<=1"}}]
    ),
    "paused on failure, and pinned": body(rollout={"onFailure": "Pause"}, pinnedRevision=3),
    "scaled to nothing": body(replicas=0),
    "pods": _pod(
        labels={"team": "vision", "example.com/tier": ""},
        annotations={"note": "a b\nc"},
        nodeSelector={"kubernetes.io/arch": "amd64"},
        tolerations=[{"operator": "Exists"}, {"key": "gpu", "effect": "NoSchedule", "tolerationSeconds": 5}],
        affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        priorityClassName="high",
        topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        serviceAccountName="reader",
        imagePullSecrets=[{"name": "registry"}],
        fetchResources={"requests": {"cpu": "50m"}, "limits": {"memory": "256Mi"}},
        proberResources={},
    ),
    # As much as the bounds allow: the cost of the rules must hold for that too.
    "largest": body(
        model={"uri": "https://host/" + "a" * 2035, "version": 9007199254740991, "digest": DIGEST},
        runtime={
            "image": "a" * 512,
            "modelName": "m" * 200,
            "batching": {"maxBatchSize": 65536, "numBatchThreads": 1024},
            "args": {f"flag_{'f' * 200}_{number}": "v" * 1024 for number in range(48)},
        },
        resources={"requests": {f"example.com/r{number}": "9" * 64 for number in range(8)}},
        podTemplate={
            "labels": {f"example.com/{'l' * 50}{number}": "v" * 63 for number in range(32)},
            "annotations": {f"example.com/{'l' * 50}{number}": "v" * 4096 for number in range(32)},
            "nodeSelector": {f"example.com/{'l' * 50}{number}": "v" * 63 for number in range(32)},
            "tolerations": [{"key": f"example.com/{number}", "value": "v" * 63} for number in range(32)],
        },
        rollout={
            "gate": {
                "golden": {"uri": "https://host/" + "a" * 2035},
                "checks": [
                    {"output": f"{number}" * 100, "metrics": {"accuracy": ">=0.999999999999999", "loss": "<=1e-9"}}
                    for number in range(16)
                ],
            }
        },
    ),
    "rollout": body(rollout={"strategy": "TerminateFirst", "progressDeadline": "1h30m", "revisionHistoryLimit": 3}),
}
