"""Clusters side by side never share an address, and never take one that the host routes elsewhere."""

import itertools
from ipaddress import IPv4Network

import pytest

from dev.cluster.nodes.network import MAX_CLUSTERS, MAX_NODES, Network, choose, parse_routes
from dev.errors import DevError


def test_no_two_clusters_overlap() -> None:
    for one, other in itertools.combinations(map(Network, range(MAX_CLUSTERS)), 2):
        assert not any(mine.overlaps(theirs) for mine in one.ranges() for theirs in other.ranges())
        assert one.device != other.device


def test_the_ranges_of_one_cluster_do_not_overlap() -> None:
    for index in range(MAX_CLUSTERS):
        link, services, pods = Network(index).ranges()
        for one, other in ((link, services), (link, pods), (services, pods)):
            assert not one.overlaps(other)


def test_addresses_of_the_first_cluster() -> None:
    first = Network(0)
    assert (str(first.host), str(first.node), str(first.dns)) == ("10.99.0.1", "10.99.0.2", "10.96.0.10")
    assert first.url == "https://10.99.0.2:6443"


def test_the_lowest_free_index_is_chosen() -> None:
    assert choose([0, 2], []).index == 1


def test_a_route_in_the_way_is_avoided() -> None:
    assert choose([], [IPv4Network("10.96.0.0/20")]).index == 1


def test_a_default_route_is_in_nobodys_way() -> None:
    assert choose([], [IPv4Network("0.0.0.0/0")]).index == 0


def test_a_route_in_the_way_of_all_is_named() -> None:
    with pytest.raises(DevError, match=r"10\.0\.0\.0/8"):
        choose([], [IPv4Network("10.0.0.0/8")])


def test_too_many_clusters() -> None:
    with pytest.raises(DevError, match="16 clusters exist already"):
        choose(range(MAX_CLUSTERS), [])


def test_routes_as_ip_prints_them() -> None:
    text = "default via 192.0.2.1 dev eth0\n10.8.0.0/16 via 10.8.0.1 dev tun0\n172.17.0.1 dev docker0 scope host\n\n"
    assert parse_routes(text) == [IPv4Network("10.8.0.0/16"), IPv4Network("172.17.0.1/32")]


def test_no_two_nodes_of_any_clusters_overlap() -> None:
    every = [Network(index, number) for index in range(MAX_CLUSTERS) for number in range(1, MAX_NODES + 1)]
    shares = [part for node in every for part in (node.link, node.pods)]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(shares, 2))
    assert len({(node.index, node.device) for node in every}) == len(every)


def test_addresses_of_a_second_node() -> None:
    second = Network(0, 2)
    assert (str(second.gateway), str(second.node), str(second.pods)) == ("10.99.1.1", "10.99.1.2", "10.244.16.0/24")
    first = Network(0)
    assert (second.host, second.services, second.dns, second.url) == (first.host, first.services, first.dns, first.url)


def test_a_route_into_a_second_nodes_pods_is_in_the_way_of_two_nodes_only() -> None:
    routes = [Network(0, 2).pods]
    assert choose([], routes).index == 0
    assert choose([], routes, nodes=2).index == 1
