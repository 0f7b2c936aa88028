// Command etcd is the upstream server: its own main package is in a module that cannot be installed on its own.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
