package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"gaff/internal/pgtest"
)

// runPostgres measures nodes on a PostgreSQL that runs, and syncs, on the same machine.
func runPostgres(binary string, d time.Duration, rounds int) error {
	describeMachine()
	server, err := pgtest.NewServer(true, "shared_buffers=1GB", "max_wal_size=4GB")
	if err != nil {
		return err
	}
	defer server.Close()
	bareBase := freeAddr()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bare, err := start(exec.Command(self, "-bare", bareBase), bareBase)
	if err != nil {
		return err
	}
	defer bare.stop()
	plain := load{addr: bareBase, path: "/", header: "X-Webhook-Signature", body: customBody}
	fmt.Printf("%-44s %6s %10s %7s %9s %9s %9s %9s\n", "", "conns", "events/s", "ratio", "p50 ms", "p99 ms", "gaff µs", "server µs")
	// Numbers of connections that can be divided by those of nodes.
	for i, m := range []struct{ nodes, conns int }{{1, 66}, {1, 258}, {2, 66}, {3, 66}} {
		if err := measureNodes(server, binary, fmt.Sprintf("bench_%d", i), m.nodes, m.conns, d, rounds, bare, plain); err != nil {
			return fmt.Errorf("%d nodes: %w", m.nodes, err)
		}
	}
	return nil
}

func measureNodes(server *pgtest.Server, binary, database string, count, conns int, d time.Duration, rounds int, bare *process, plain load) error {
	address, err := server.Database(database)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gaff-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var nodes []*process
	var addrs []string
	for i := range count {
		node, addr, err := serve(binary, dir, "GAFF_DATA_DIR="+filepath.Join(dir, strconv.Itoa(i)), "GAFF_DATABASE_URL="+address)
		if err != nil {
			return err
		}
		defer node.stop()
		nodes, addrs = append(nodes, node), append(addrs, addr)
	}
	spread := func(l load, conns int, after func() error) (result, time.Duration, error) {
		before := treeCPU(server.Pid())
		var wg sync.WaitGroup
		rs, errs := make([]result, count), make([]error, count)
		for i := range nodes {
			one := l
			one.addr = addrs[i]
			wg.Go(func() { rs[i], errs[i] = measure(nodes[i], one, conns/count, d, after) })
		}
		wg.Wait()
		var sum result
		for i, r := range rs {
			if errs[i] != nil {
				return sum, 0, errs[i]
			}
			sum.rate += r.rate
			sum.cpu += r.cpu * r.rate
			sum.p50, sum.p99 = max(sum.p50, r.p50), max(sum.p99, r.p99)
		}
		sum.cpu /= sum.rate
		return sum, treeCPU(server.Pid()) - before, nil
	}
	custom := load{path: "/api/v1/webhooks/custom", header: "X-Webhook-Signature", body: customBody}
	falLoad := load{path: "/api/v1/webhooks/fal", header: "X-Fal-Signature", body: falBody}
	var as, bs, cs []result
	var bServer, cServer float64
	for range rounds {
		a, err := measure(bare, plain, conns, d, nil)
		if err != nil {
			return err
		}
		b, used, err := spread(custom, conns, nil)
		if err != nil {
			return err
		}
		bServer = float64(used.Microseconds()) / (b.rate * d.Seconds())
		began := time.Now()
		c, used, err := spread(falLoad, conns, func() error { return drained(addrs[0]) })
		if err != nil {
			return err
		}
		cServer = float64(used.Microseconds()) / (c.rate * time.Since(began).Seconds())
		as, bs, cs = append(as, a), append(bs, b), append(cs, c)
	}
	a, b, c := median(as), median(bs), median(cs)
	a.print("bare net/http, HMAC", conns, 1)
	b.print(fmt.Sprintf("%d node(s), custom event without handler", count), conns, b.rate/a.rate)
	fmt.Printf("%*s%9.0f\n", 99, "", bServer)
	c.print(fmt.Sprintf("%d node(s), fal event, job and media done", count), conns, c.rate/a.rate)
	fmt.Printf("%*s%9.0f\n", 99, "", cServer)
	return nil
}

// treeCPU is the user and system time of a process and of its children, also those that
// have ended.
func treeCPU(pid int) (sum time.Duration) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		own := filepath.Base(filepath.Dir(path)) == strconv.Itoa(pid)
		if !own && fields[1] != strconv.Itoa(pid) {
			continue
		}
		last := 13
		if own {
			last = 15 // with the children that were waited for
		}
		for _, field := range fields[11:last] {
			n, _ := strconv.Atoi(field)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}
