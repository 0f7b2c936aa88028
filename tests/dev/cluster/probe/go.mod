// What the tests of the cluster run in pods: one static program, so that its image needs no base.
module slipway.dev/tests/cluster/probe

go 1.26.0
