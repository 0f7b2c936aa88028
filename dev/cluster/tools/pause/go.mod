// The container that holds a pod's namespaces. No dependencies: it must build where nothing can be downloaded.
module slipway.dev/cluster/tools/pause

go 1.26.0
