package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gaff/client"
	"gaff/internal/pgtest"
)

var forwardAlone = flag.Bool("forward", false, "measure forwarding alone: throughput, and fairness with one dead destination among ten")

// forwardSecret signs forwarded events, and the requests of the bare client.
const forwardSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// atOnce is how many requests are under way at once, of gaff's and of the bare client.
const atOnce = 32

// sink is the receivers: it counts events and measures their latency.
type sink struct {
	*httptest.Server
	count atomic.Int64
	mu    sync.Mutex
	took  []time.Duration // of the events in the timed period
	timed atomic.Bool
}

func newSink() *sink {
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if s.timed.Load() {
			var e struct{ Timestamp time.Time }
			if json.Unmarshal(body, &e) == nil {
				s.mu.Lock()
				s.took = append(s.took, time.Since(e.Timestamp))
				s.mu.Unlock()
			}
		}
		s.count.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	return s
}

// runForward measures forwarding: how fast a backlog goes out, beside a bare client that
// sends the same to the same receiver; and what one dead destination among ten does to the
// others.
func runForward(opt options) error {
	if err := backlogs(opt, nil); err != nil {
		return err
	}
	fmt.Printf("\n%-56s %9s %9s %9s\n", "ten destinations, 500 events/s, received to delivered", "p50 ms", "p99 ms", "events")
	for _, dead := range []bool{false, true} {
		for _, b := range opt.builds {
			if err := tenDestinations(b, opt.duration, dead); err != nil {
				return fmt.Errorf("%s: %w", b.name, err)
			}
		}
	}
	return nil
}

// backlogs measures how fast a backlog goes out, on SQLite or on a PostgreSQL server, whose CPU counts too.
func backlogs(opt options, server *pgtest.Server) error {
	fmt.Printf("\n%-56s %10s %7s %9s\n", "forwarding, 1 KiB, signed, 32 at once", "events/s", "ratio", "CPU µs/ev")
	var bare []result
	out := make([][]result, len(opt.builds))
	for round := range opt.rounds {
		s := newSink()
		a, err := bareClient(s, opt.duration)
		for turn := range opt.builds {
			if err != nil {
				break
			}
			i := (turn + round) % len(opt.builds)
			var b result
			b, err = backlogOut(opt.builds[i].binary, s, int(a.rate*opt.duration.Seconds()/2), server, fmt.Sprintf("forward_%d_%d", round, i))
			out[i] = append(out[i], b)
		}
		s.Close()
		if err != nil {
			return err
		}
		bare = append(bare, a)
	}
	a := median(bare)
	fmt.Printf("%-56s %10.0f %7.3f\n", "a bare http.Client", a.rate, 1.0)
	for i, b := range opt.builds {
		r := median(out[i])
		fmt.Printf("%-56s %10.0f %7.3f %9.0f\n", b.name+": a backlog to one destination", r.rate, r.rate/a.rate, r.cpu)
	}
	if len(opt.builds) == 2 {
		before, after := median(out[0]), median(out[1])
		fmt.Printf("%-56s %10.3f %7s %9.3f\n", "    after / before", after.rate/before.rate, "", after.cpu/before.cpu)
	}
	return nil
}

// bareClient is the least that a sender of webhooks does: sign, send, read the answer.
func bareClient(s *sink, d time.Duration) (result, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	defer client.CloseIdleConnections()
	began := time.Now()
	var sent atomic.Int64
	errs := make([]error, atOnce)
	var wg sync.WaitGroup
	for i := range atOnce {
		wg.Go(func() {
			for time.Since(began) < d && errs[i] == nil {
				n := sent.Add(1)
				errs[i] = post(client, s.URL, n)
			}
		})
	}
	wg.Wait()
	return result{rate: float64(sent.Load()) / time.Since(began).Seconds()}, errors.Join(errs...)
}

func post(c *http.Client, url string, n int64) error {
	body, now := customBody(nil, n), time.Now().Unix()
	signature, err := client.Sign(forwardSecret, strconv.FormatInt(n, 10), now, body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(client.HeaderID, strconv.FormatInt(n, 10))
	req.Header.Set(client.HeaderTimestamp, strconv.FormatInt(now, 10))
	req.Header.Set(client.HeaderSignature, signature)
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}

// forwardGateway starts a gateway with destinations.
func forwardGateway(binary, config string, settings ...string) (gw *process, addr string, end func(), err error) {
	dir, err := os.MkdirTemp("", "gaff-bench-")
	if err != nil {
		return nil, "", nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
		remove()
		return nil, "", nil, err
	}
	if gw, addr, err = serve(binary, dir, append(settings, "GAFF_ALLOW_ADDRESSES=127.0.0.1")...); err != nil {
		remove()
		return nil, "", nil, err
	}
	return gw, addr, func() { gw.stop(); remove() }, nil
}

// backlogOut keeps events for a paused destination, resumes it, and measures until all of
// them were received. It makes a database on the server, if that is not nil.
func backlogOut(binary string, s *sink, events int, server *pgtest.Server, database string) (result, error) {
	var settings []string
	var t target
	if server != nil {
		address, err := server.Database(database)
		if err != nil {
			return result{}, err
		}
		settings, t.database = []string{"GAFF_DATABASE_URL=" + address}, server.Pid()
	}
	gw, addr, end, err := forwardGateway(binary, fmt.Sprintf(
		"destinations:\n  app: {url: %q, secrets: [%q], concurrency: %d}\n", s.URL, forwardSecret, atOnce), settings...)
	if err != nil {
		return result{}, err
	}
	defer end()
	t.nodes = []*process{gw}
	if err := act(addr, "app", "pause"); err != nil {
		return result{}, err
	}
	if err := fill(addr, customBody, events); err != nil {
		return result{}, err
	}
	before, used, began := s.count.Load(), t.usage(), time.Now()
	if err := act(addr, "app", "resume"); err != nil {
		return result{}, err
	}
	for s.count.Load()-before < int64(events) {
		if time.Since(began) > 2*time.Minute {
			return result{}, fmt.Errorf("only %d of %d were forwarded", s.count.Load()-before, events)
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	return result{rate: float64(events) / took.Seconds(), cpu: float64((t.usage().cpu - used.cpu).Microseconds()) / float64(events)}, nil
}

func act(addr, name, what string) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+addr+"/api/v1/destinations/"+name+"/"+what, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", what, name, res.Status)
	}
	return nil
}

// fill sends so many events as fast as they are taken.
func fill(addr string, body func([]byte, int64) []byte, events int) error {
	const conns = 64
	var left atomic.Int64
	left.Store(int64(events))
	errs := make([]error, conns)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			l := load{addr: addr, path: "/api/v1/webhooks/custom", header: "X-Webhook-Signature", body: body, more: func() bool { return left.Add(-1) >= 0 }}
			_, errs[i] = l.send(time.Now().Add(5*time.Minute), 0)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// waitingForDead is how many deliveries wait for the dead destination before the measure.
const waitingForDead = 10_000

// tenDestinations sends paced events to ten destinations, each of which takes a tenth. The
// tenth of them lives, or hangs with many waiting for it.
func tenDestinations(b build, d time.Duration, dead bool) error {
	s := newSink()
	defer s.Close()
	hole, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		return err
	}
	defer hole.Close()
	var config strings.Builder
	config.WriteString("destinations:\n")
	for i := range 10 {
		url := s.URL
		if i == 9 && dead {
			url = "http://" + hole.Addr().String()
		}
		fmt.Fprintf(&config, "  d%d: {url: %q, secrets: [%q], events: [\"custom:order.%d\"], timeout: 2s}\n", i, url, forwardSecret, i)
	}
	_, addr, end, err := forwardGateway(b.binary, config.String())
	if err != nil {
		return err
	}
	defer end()
	typed := func(kind func(n int64) int64) func([]byte, int64) []byte {
		return func(b []byte, n int64) []byte {
			b = appendID(append(b, `{"id":"order-`...), n)
			b = append(b, `","type":"order.`...)
			b = strconv.AppendInt(b, kind(n), 10)
			return pad(append(b, `","data":"`...), `"}`)
		}
	}
	if dead {
		if err := fill(addr, typed(func(int64) int64 { return 9 }), waitingForDead); err != nil {
			return err
		}
	}
	s.timed.Store(true)
	const conns, perSecond = 10, 500
	stop := time.Now().Add(2 * d)
	errs := make([]error, conns)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			l := load{
				addr: addr, path: "/api/v1/webhooks/custom", header: "X-Webhook-Signature", body: typed(func(n int64) int64 { return n % 10 }),
				every: conns * time.Second / perSecond,
			}
			_, errs[i] = l.send(stop, time.Duration(i)*time.Second/perSecond)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.took) == 0 {
		return errors.New("nothing was forwarded")
	}
	slices.Sort(s.took)
	name := b.name + ": all ten live"
	if dead {
		name = fmt.Sprintf("%s: one hangs, %d wait for it: the other nine", b.name, waitingForDead)
	}
	fmt.Printf("%-56s %9.1f %9.1f %9d\n", name, ms(s.took[len(s.took)/2]), ms(s.took[len(s.took)*99/100]), len(s.took))
	return nil
}
