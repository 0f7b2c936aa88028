// Command load sends one request again and again, over gRPC or HTTP, and prints what came back as JSON.
//
// Closed loop: each client has a connection of its own and one request under way. The request is sent as it lies in a file and the
// answer is not decoded, so that the generator takes as little as possible of the cores that it shares with the server.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// sender sends one request; the outcome is "" or the name of what went wrong.
type sender interface {
	send(ctx context.Context) (outcome string, received int)
	close()
}

type result struct {
	Requests   int            `json:"requests"`
	Failed     map[string]int `json:"failed"`
	Seconds    float64        `json:"seconds"`
	P50Millis  float64        `json:"p50_millis"`
	P99Millis  float64        `json:"p99_millis"`
	MaxMillis  float64        `json:"max_millis"`
	CPUSeconds float64        `json:"cpu_seconds"`
	Received   int            `json:"received_bytes"`

	ServerCPUSeconds float64 `json:"server_cpu_seconds"`
}

// plan says how long to send, and whose CPU time to read meanwhile (0: nobody's).
type plan struct {
	warmup, span time.Duration
	watch        int
}

type tally struct {
	nanos    []int64
	failed   map[string]int
	received int
}

func main() {
	address := flag.String("address", "127.0.0.1:8500", "host:port of the server")
	method := flag.String("method", "", "gRPC method, such as /tensorflow.serving.PredictionService/Predict")
	path := flag.String("path", "", "HTTP path to POST to; instead of -method")
	file := flag.String("payload", "", "file with the request's bytes")
	clients := flag.Int("clients", 1, "requests under way at a time")
	watch := flag.Int("watch", 0, "process of the server, whose CPU time is read too")
	warmup := flag.Duration("warmup", time.Second, "time before the measurement")
	span := flag.Duration("span", 5*time.Second, "time of the measurement")
	flag.Parse()

	payload, err := os.ReadFile(*file)
	exitOn(err)
	connect := func() (sender, error) { return newHTTP(*address, *path, payload), nil }
	if *method != "" {
		connect = func() (sender, error) { return newGRPC(*address, *method, payload) }
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	exitOn(json.NewEncoder(os.Stdout).Encode(run(ctx, connect, *clients, plan{*warmup, *span, *watch})))
}

// run lets the clients send until span is over or ctx is done; what happens during the warm-up counts only if it fails.
func run(ctx context.Context, connect func() (sender, error), clients int, p plan) result {
	tallies := make([]tally, clients)
	begin := time.Now().Add(p.warmup)
	end := begin.Add(p.span)
	var group sync.WaitGroup
	for i := range tallies {
		client, err := connect()
		exitOn(err)
		group.Go(func() {
			defer client.close()
			tallies[i] = loop(ctx, client, begin, end)
		})
	}
	time.Sleep(time.Until(begin))
	cpu, watched := cpuSeconds(), cpuOf(p.watch)
	group.Wait()
	found := summary(tallies, time.Since(begin).Seconds(), cpuSeconds()-cpu)
	found.ServerCPUSeconds = cpuOf(p.watch) - watched
	return found
}

func loop(ctx context.Context, client sender, begin, end time.Time) tally {
	found := tally{failed: map[string]int{}}
	for ctx.Err() == nil {
		start := time.Now()
		if !start.Before(end) {
			break
		}
		outcome, received := client.send(context.Background())
		switch {
		case outcome != "":
			found.failed[outcome]++
			time.Sleep(10 * time.Millisecond) // a server that is gone must not make this a busy loop
		case start.After(begin):
			found.nanos = append(found.nanos, int64(time.Since(start)))
			found.received += received
		}
	}
	return found
}

func summary(tallies []tally, seconds, cpu float64) result {
	total := result{Failed: map[string]int{}, Seconds: seconds, CPUSeconds: cpu}
	var nanos []int64
	for _, one := range tallies {
		nanos = append(nanos, one.nanos...)
		total.Received += one.received
		for outcome, count := range one.failed {
			total.Failed[outcome] += count
		}
	}
	slices.Sort(nanos)
	total.Requests = len(nanos)
	if len(nanos) > 0 {
		at := func(share float64) float64 { return float64(nanos[int(share*float64(len(nanos)-1))]) / 1e6 }
		total.P50Millis, total.P99Millis, total.MaxMillis = at(0.5), at(0.99), at(1)
	}
	return total
}

// cpuSeconds is what this process has used so far.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	exitOn(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// cpuOf is what another process has used so far, in seconds; the kernel counts hundredths.
func cpuOf(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if pid == 0 || err != nil {
		return 0
	}
	// The name in brackets may hold spaces; user and system time are the 12th and 13th field behind it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user+system) / 100
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}
