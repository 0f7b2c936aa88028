// Command probe does, inside a pod, what a test of the cluster wants to know about.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: probe serve | resolve NAME | get URL | write FILE | read FILE | burn")
	}
	switch os.Args[1] {
	case "serve":
		serve()
	case "resolve":
		addresses, err := net.LookupHost(os.Args[2])
		check(err)
		fmt.Println(addresses)
	case "get":
		client := http.Client{Timeout: 5 * time.Second}
		response, err := client.Get(os.Args[2])
		check(err)
		body, err := io.ReadAll(response.Body)
		check(err)
		fmt.Println(response.StatusCode, string(body))
	case "write":
		check(os.WriteFile(os.Args[2], []byte("written by uid "+fmt.Sprint(os.Getuid())), 0o644))
	case "read":
		content, err := os.ReadFile(os.Args[2])
		check(err)
		fmt.Println(string(content))
	case "burn":
		go serve()
		for { // all the CPU there is, until the pod is deleted
		}
	default:
		fail("unknown command " + os.Args[1])
	}
}

func serve() {
	name, err := os.Hostname()
	check(err)
	fmt.Println("serving on :8080")
	check(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello from "+name)
	})))
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}
