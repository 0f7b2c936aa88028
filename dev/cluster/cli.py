"""The command line: `python -m dev.cluster up|down|status|load|gpu|kubeconfig|path|build|lose|exec`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from dev.cluster import binaries, fake_gpus, state
from dev.cluster.nodes import packages
from dev.cluster.paths import DEFAULT_NAME, kubeconfig_path
from dev.cluster.providers.local import Local
from dev.cluster.providers.selection import Wish, provider_for
from dev.errors import DevError

Command = Callable[[argparse.Namespace], int]


def say(line: str) -> None:
    """One line of progress; results go to standard output, progress does not."""
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0 done, 1 could not be done, 2 wrong words."""
    options = parser().parse_args(argv)
    command: Command = options.run
    try:
        return command(options)
    except (DevError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The words this program understands."""
    top = argparse.ArgumentParser(prog="python -m dev.cluster", description="A Kubernetes cluster to run Slipway on.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--name", default=DEFAULT_NAME, help="which cluster (default: %(default)s)")
        sub.set_defaults(run=run)
        return sub

    up = add("up", _up, "make the cluster, or repair it; quick when it runs already")
    _add_up_arguments(up)
    add("down", _down, "remove the cluster and everything it left on this machine")
    add("status", _status, "what the cluster is made of and how that is doing; status 1 unless all is well")
    load = add("load", _load, "make images available to pods")
    load.add_argument("images", nargs="+", metavar="IMAGE", help="an OCI or docker archive, or a name Docker knows")
    fake = add("gpu", _gpu, "give a node GPUs that only the scheduler believes in, or take them away")
    fake_gpus.add_arguments(fake)
    add("kubeconfig", _kubeconfig, "print the path of the cluster's kubeconfig")
    path = add("path", _path, "print the path of a program (kubectl, helm, kubeconform …), building it first")
    path.add_argument("program", choices=sorted(binaries.BY_NAME))
    build = add("build", _build, "build programs into the cache ahead of time")
    build.add_argument("programs", nargs="*", metavar="PROGRAM", help="default: all")
    build.add_argument(
        "--install-packages", action="store_true", help="also install what a local cluster needs of Debian's packages"
    )
    lose = add(
        "lose", _lose, "make a further node of a local cluster unreachable to the control plane; `up` repairs it"
    )
    lose.add_argument("node", type=int, help="number of the node: 2 or more")
    lose.add_argument("--cut", action="store_true", help="cut its network (default: only its kubelet is stopped)")
    inside = add("exec", _exec, "run a command in the namespaces of a local cluster, for looking around")
    inside.add_argument("--node", type=int, default=1, help="of which node (default: %(default)s)")
    inside.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    return top


def _add_up_arguments(up: argparse.ArgumentParser) -> None:
    up.add_argument("--provider", choices=["auto", "kind", "local", "existing"], default="auto",
                    help="auto: kind where a Docker daemon answers, local otherwise")  # fmt: skip
    up.add_argument("--context", default="", help="use the cluster behind this context of your kubeconfig (existing)")
    up.add_argument("--nodes", type=int, default=None,
                    help="how many nodes a local cluster has; it can grow (default: as it was, 1 at first)")  # fmt: skip
    up.add_argument("--no-metrics", dest="metrics", action="store_false",
                    help="a local cluster comes up without metrics-server, which autoscaling reads, if that is not built yet")  # fmt: skip
    up.add_argument("--install-packages", action="store_true", help="install missing Debian packages with apt-get")


def _up(options: argparse.Namespace) -> int:
    with state.locked(options.name):
        wish = Wish(options.provider, options.context, options.install_packages, options.nodes, options.metrics)
        provider = provider_for(options.name, say, wish)
        provider.up()
    print(f"export KUBECONFIG={provider.kubeconfig()}")
    return 0


def _down(options: argparse.Namespace) -> int:
    with state.locked(options.name):
        provider_for(options.name, say).down()
    say(f"the cluster {options.name} is gone")
    return 0


def _status(options: argparse.Namespace) -> int:
    if state.load(options.name) is None:
        print(f"there is no cluster {options.name}; `python -m dev.cluster up` makes one")
        return 1
    facts = provider_for(options.name, say).status()
    width = max(len(fact.subject) for fact in facts)
    for fact in facts:
        print(f"{'ok  ' if fact.good else 'FAIL'}  {fact.subject:<{width}}  {fact.detail}")
    return 0 if all(fact.good for fact in facts) else 1


def _load(options: argparse.Namespace) -> int:
    with state.locked(options.name):
        provider_for(options.name, say).load(options.images)
    return 0


def _gpu(options: argparse.Namespace) -> int:
    return fake_gpus.main(_existing_kubeconfig(options.name), options, say)


def _kubeconfig(options: argparse.Namespace) -> int:
    print(_existing_kubeconfig(options.name))
    return 0


def _path(options: argparse.Namespace) -> int:
    print(binaries.ensure(options.program, say))
    return 0


def _build(options: argparse.Namespace) -> int:
    if options.install_packages:
        packages.require(install=True, say=say)
    made = binaries.ensure_all(options.programs or [tool.name for tool in binaries.TOOL_LIST], say)
    print(*made.values(), sep="\n")
    return 0


def _lose(options: argparse.Namespace) -> int:
    with state.locked(options.name):
        node = Local(options.name, say).lose(options.node, cut=options.cut)
    say(f"{node} is {'cut off' if options.cut else 'without its kubelet'}")
    return 0


def _exec(options: argparse.Namespace) -> int:
    words = [word for index, word in enumerate(options.words) if index or word != "--"] or ["sh"]
    argv = Local(options.name, say).inside(words, options.node)
    os.execvp(argv[0], argv)  # noqa: S606


def _existing_kubeconfig(name: str) -> str:
    file = kubeconfig_path(name)
    if not file.exists():
        raise DevError(f"there is no cluster {name}", "Make one: `python -m dev.cluster up`.")
    return str(file)
