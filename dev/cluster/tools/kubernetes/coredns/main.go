// Command coredns is the upstream server with the plugins that a cluster's DNS needs here. With all of them, it compiles
// the clients of three clouds, which takes longer than kube-apiserver.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() {
	// In the order of upstream's plugin.cfg, which is the order in which a request passes through them.
	dnsserver.Directives = []string{"bind", "ready", "errors", "cache", "hosts", "kubernetes", "file", "forward"}
	coremain.Run()
}
