package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// build is one binary of gaff that is measured.
type build struct{ name, binary string }

// options hold for all measurements of a run.
type options struct {
	builds           []build // two are measured in turns
	duration, warmup time.Duration
	rounds           int
	only             string // see choose
	paced            int    // runs of paced; if not 0, nothing else is measured
}

// subject is a build that runs.
type subject struct {
	build
	target
	warm map[string]bool // the loads that it has had
}

// row is one line of a table: a load that the builds are measured with.
type row struct {
	name  string
	load  load
	conns int
	// done reports when all effects have happened; nil: the answers are all.
	done bool
	bare bool // the bare server is measured, too
}

var (
	customLoad = load{path: "/api/v1/webhooks/custom", header: "X-Webhook-Signature", body: customBody}
	falLoad    = load{path: "/api/v1/webhooks/fal", header: "X-Fal-Signature", body: falBody}
	bareLoad   = load{path: "/", header: "X-Webhook-Signature", body: customBody}
)

// startBare starts this program again as the bare server.
func startBare() (target, error) {
	addr := freeAddr()
	self, err := os.Executable()
	if err != nil {
		return target{}, err
	}
	bare, err := start(exec.Command(self, "-bare", addr), addr)
	return target{nodes: []*process{bare}, addrs: []string{addr}}, err
}

func (t target) stop() {
	for _, node := range t.nodes {
		node.stop()
	}
}

// runAccept measures receiving and effects on SQLite.
func runAccept(opt options) error {
	describeMachine()
	bare, err := startBare()
	if err != nil {
		return err
	}
	defer bare.stop()
	var subjects []*subject
	for _, b := range opt.builds {
		dir, err := os.MkdirTemp("", "gaff-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		from := time.Now()
		gw, addr, err := serve(b.binary, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		defer gw.stop()
		ready := time.Since(from)
		time.Sleep(2 * time.Second)
		fmt.Printf("%s: ready %d ms after start, resident idle %d MiB\n", b.name, ready.Milliseconds(), gw.resident()>>20)
		subjects = append(subjects, &subject{
			build: b, target: target{nodes: []*process{gw}, addrs: []string{addr}, disk: diskOf(dir)}, warm: map[string]bool{},
		})
	}
	fmt.Printf("ids: %s\n\n", *ids)
	if opt.paced > 0 {
		return pacedRuns(opt.paced, subjects)
	}
	printHeader()
	rows, err := choose(opt.only)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := r.measure(opt, bare, subjects); err != nil {
			return err
		}
	}
	for _, s := range subjects {
		fmt.Printf("\n%s: resident loaded, highest: %d MiB\n", s.name, s.nodes[0].peak()>>20)
		if opt.only != "" {
			continue
		}
		if err := paced(s); err != nil {
			return err
		}
	}
	return nil
}

var (
	customRow = row{name: "custom event without handler", load: customLoad, bare: true}
	falRow    = row{name: "fal event, job and media done", load: falLoad, done: true, bare: true}
)

func (r row) at(conns int) row {
	r.conns = conns
	return r
}

// choose returns the rows of a list such as "fal@64,custom@1", of sources and connections; the
// usual ones if it is empty.
func choose(only string) ([]row, error) {
	if only == "" {
		return []row{customRow.at(1), customRow.at(64), customRow.at(256), falRow.at(64)}, nil
	}
	var rows []row
	for text := range strings.SplitSeq(only, ",") {
		source, number, _ := strings.Cut(text, "@")
		conns, err := strconv.Atoi(number)
		r, ok := map[string]row{"custom": customRow, "fal": falRow}[source]
		if err != nil || !ok || conns < 1 {
			return nil, fmt.Errorf("-only %q: want custom@CONNECTIONS or fal@CONNECTIONS, separated by commas", text)
		}
		rows = append(rows, r.at(conns))
	}
	return rows, nil
}

// measure measures the bare server and the builds in turns, and prints the medians.
func (r row) measure(opt options, bare target, subjects []*subject) error {
	var bares []result
	results := make([][]result, len(subjects))
	for round := range opt.rounds {
		if r.bare {
			a, err := measure(bare, bareLoad, r.conns, opt.duration, nil)
			if err != nil {
				return fmt.Errorf("bare server: %w", err)
			}
			bares = append(bares, a)
		}
		for turn := range subjects {
			// Each build is the first as often as the other.
			i := (turn + round) % len(subjects)
			s := subjects[i]
			one, err := s.measure(r, opt)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", s.name, r.name, err)
			}
			results[i] = append(results[i], one)
		}
	}
	var reference float64
	if r.bare {
		a := median(bares)
		reference = a.rate
		a.print("bare net/http, HMAC", r.conns, 1)
	}
	medians := make([]result, len(subjects))
	for i, s := range subjects {
		medians[i] = median(results[i])
		medians[i].print(s.name+": "+r.name, r.conns, medians[i].rate/reference)
	}
	if len(medians) == 2 {
		printRatio(medians[0], medians[1])
	}
	return nil
}

// measure measures one build. The first time, the load runs for a while before: caches fill, the
// files reach the size at which they are used again, and connections are made.
func (s *subject) measure(r row, opt options) (result, error) {
	var after func() error
	if r.done {
		after = func() error { return drained(s.addrs[0]) }
	}
	if !s.warm[r.name] && opt.warmup > 0 {
		if _, err := measure(s.target, r.load, r.conns, opt.warmup, after); err != nil {
			return result{}, err
		}
		s.warm[r.name] = true
	}
	return measure(s.target, r.load, r.conns, opt.duration, after)
}

// pacedRuns repeats paced, with the builds in turns.
func pacedRuns(runs int, subjects []*subject) error {
	for range runs {
		for _, s := range subjects {
			if err := paced(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// paced offers 1,000 events a second and looks at the waits.
func paced(s *subject) error {
	const perSecond, seconds = 1000, 10
	l := falLoad
	l.every = 64 * time.Second / perSecond
	since := time.Now()
	r, err := measure(s.target, l, 64, seconds*time.Second, func() error { return drained(s.addrs[0]) })
	if err != nil {
		return err
	}
	done, err := doneTimes(s.addrs[0], since)
	if err != nil {
		return err
	}
	slices.Sort(done)
	fmt.Printf("%s: at %.0f a second offered: reply p50 %.1f ms, p99 %.1f ms; received to effects done p50 %d ms, p99 %d ms (%d events); %.0f CPU µs an event\n",
		s.name, r.rate, ms(r.p50), ms(r.p99), done[len(done)/2].Milliseconds(), done[len(done)*99/100].Milliseconds(), len(done), r.cpu)
	return nil
}
