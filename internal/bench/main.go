// Command bench measures gaff beside a bare HTTP server, in one run on one machine, so
// that the ratios mean the same on another one. Each server is a process of its own; this
// one makes the load. It sends to 127.0.0.1 only.
//
//	go run ./internal/bench -gaff bin/gaff
package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	secret = "bench-secret"
	token  = "bench-token"
)

func main() {
	var (
		binary   = flag.String("gaff", "bin/gaff", "the gaff binary to measure")
		duration = flag.Duration("d", 5*time.Second, "how long each measurement takes")
		rounds   = flag.Int("rounds", 3, "how often each is repeated; medians are printed")
		pg       = flag.Bool("postgres", false, "measure one, two and three nodes on a PostgreSQL of the tests' own")
		runs     = flag.Int("workflows", 0, "measure only so many runs of a workflow")
		logs     = flag.Int("logs", 0, "fill both stores with so many events, and measure queries")
		bareAddr = flag.String("bare", "", "run as the bare server on this address")
	)
	flag.Parse()
	if *bareAddr != "" {
		exit(serveBare(*bareAddr))
	}
	if *runs > 0 {
		exit(measureWorkflows(*runs))
	}
	path, err := filepath.Abs(*binary) // the gateway runs in a folder of its own
	if err != nil {
		exit(err)
	}
	if *logs > 0 {
		exit(runLogs(path, *logs, 12**duration))
	}
	if *console > 0 {
		exit(measureConsole(path, *console))
	}
	if *pg {
		exit(runPostgres(path, *duration, *rounds))
	}
	if !*forwardAlone {
		if err := run(path, *duration, *rounds); err != nil {
			exit(err)
		}
	}
	exit(runForward(path, *duration, *rounds))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveBare is the least that a receiver of webhooks does: read the body, check its HMAC,
// answer.
func serveBare(addr string) error {
	return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		sent, err := hex.DecodeString(r.Header.Get("X-Webhook-Signature"))
		if err != nil || !hmac.Equal(sent, mac.Sum(nil)) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"success":true}`)
	}))
}

func run(binary string, d time.Duration, rounds int) error {
	describeMachine()
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
	dir, err := os.MkdirTemp("", "gaff-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	gw, gaffBase, err := serve(binary, dir)
	if err != nil {
		return err
	}
	defer gw.stop()
	fmt.Printf("ready %d ms after start\n", time.Since(began).Milliseconds())
	time.Sleep(2 * time.Second)
	fmt.Printf("resident idle %d MiB\n\n", gw.resident()>>20)

	custom := load{addr: gaffBase, path: "/api/v1/webhooks/custom", header: "X-Webhook-Signature", body: customBody}
	plain := load{addr: bareBase, path: "/", header: "X-Webhook-Signature", body: customBody}
	falLoad := load{addr: gaffBase, path: "/api/v1/webhooks/fal", header: "X-Fal-Signature", body: falBody}

	bareRate := map[int]float64{}
	fmt.Printf("%-44s %6s %10s %7s %9s %9s %9s\n", "", "conns", "events/s", "ratio", "p50 ms", "p99 ms", "CPU µs/ev")
	for _, conns := range []int{64, 256} {
		var as, bs []result
		for range rounds {
			a, err := measure(bare, plain, conns, d, nil)
			if err != nil {
				return err
			}
			b, err := measure(gw, custom, conns, d, nil)
			if err != nil {
				return err
			}
			as, bs = append(as, a), append(bs, b)
		}
		a, b := median(as), median(bs)
		bareRate[conns] = a.rate
		a.print("(a) bare net/http, HMAC", conns, 1)
		b.print("(b) gaff, custom event without handler", conns, b.rate/a.rate)
	}
	var cs []result
	for range rounds {
		c, err := measure(gw, falLoad, 64, d, func() error { return drained(gaffBase) })
		if err != nil {
			return err
		}
		cs = append(cs, c)
	}
	c := median(cs)
	c.print("(c) gaff, fal event, job and media done", 64, c.rate/bareRate[64])
	fmt.Printf("\nresident loaded, highest: %d MiB\n\n", gw.peak()>>20)
	return paced(gw, falLoad, gaffBase)
}

// paced offers 1,000 events a second and looks at the waits.
func paced(gw *process, l load, base string) error {
	const perSecond, seconds = 1000, 10
	l.every = 64 * time.Second / perSecond
	since := time.Now()
	r, err := measure(gw, l, 64, seconds*time.Second, func() error { return drained(base) })
	if err != nil {
		return err
	}
	done, err := doneTimes(base, since)
	if err != nil {
		return err
	}
	slices.Sort(done)
	fmt.Printf("at %.0f a second offered: reply p50 %.1f ms, p99 %.1f ms; received to effects done p50 %d ms, p99 %d ms (%d events); %.0f CPU µs an event\n",
		r.rate, ms(r.p50), ms(r.p99), done[len(done)/2].Milliseconds(), done[len(done)*99/100].Milliseconds(), len(done), r.cpu)
	return nil
}

func customBody(b []byte, n int64) []byte {
	b = append(b, `{"id":"order-`...)
	b = strconv.AppendInt(b, began, 36)
	b = strconv.AppendInt(append(b, '-'), n, 10)
	b = append(b, `","type":"order.paid","data":"`...)
	return pad(b, `"}`)
}

func falBody(b []byte, n int64) []byte {
	name := strconv.AppendInt(nil, began, 36)
	name = strconv.AppendInt(append(name, '-'), n, 10)
	b = append(b, `{"request_id":"`...)
	b = append(b, name...)
	b = append(b, `","status":"completed","result":{"images":[{"url":"https://example.com/`...)
	b = append(b, name...)
	b = append(b, `.jpg","width":1024,"height":1024}],"seed":17454220438242315174},"metadata":{"job_id":"job-`...)
	b = append(b, name...)
	b = append(b, `","project_id":"project-1","user_id":"user-1","generation_type":"image"},"prompt":"`...)
	return pad(b, `"}`)
}

// began makes the ids of one run differ from those of another.
var began = time.Now().UnixNano()

// pad fills a body up to 1 KiB.
func pad(b []byte, end string) []byte {
	const size = 1024
	for len(b) < size-len(end) {
		b = append(b, "abcdefghijklmnopqrstuvwxyz012345"[:min(32, size-len(end)-len(b))]...)
	}
	return append(b, end...)
}

type process struct {
	cmd *exec.Cmd
}

func start(cmd *exec.Cmd, addr string) (*process, error) {
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd}
	for range 500 {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return p, conn.Close()
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.stop()
	return nil, fmt.Errorf("%s does not listen on %s", cmd.Path, addr)
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Wait()
}

// cpu is the user and system time that the process has used.
func (p *process) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The fields after the name in parentheses; times are the 12th and 13th, in
	// hundredths of a second.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func (p *process) resident() int64 { return p.status("VmRSS:") }
func (p *process) peak() int64     { return p.status("VmHWM:") }

func (p *process) status(name string) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// serve starts the gateway in a folder of its own, and waits until it is ready. Settings
// come on top of those that all measurements share.
func serve(binary, dir string, settings ...string) (gw *process, addr string, err error) {
	addr = freeAddr()
	cmd := exec.Command(binary, "serve")
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GAFF_ADDR="+addr, "GAFF_DATA_DIR="+filepath.Join(dir, "data"), "GAFF_ADMIN_TOKEN="+token,
		"WEBHOOK_SECRET="+secret, "FAL_WEBHOOK_SECRET="+secret, "GAFF_LOG_LEVEL=error", "GAFF_MEDIA_URL=off"), settings...)
	if gw, err = start(cmd, addr); err != nil {
		return nil, "", err
	}
	if err := waitReady(addr); err != nil {
		gw.stop()
		return nil, "", err
	}
	return gw, addr, nil
}

func freeAddr() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		exit(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func waitReady(addr string) error {
	for range 1000 {
		resp, err := http.Get("http://" + addr + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	return fmt.Errorf("gaff on %s does not become ready", addr)
}

func get(addr, path string, into any) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// drained waits until everything that was accepted is processed.
func drained(addr string) error {
	for range 1200 {
		var stats struct {
			Deliveries struct {
				Waiting int64 `json:"waiting"`
			} `json:"deliveries"`
		}
		if err := get(addr, "/api/v1/stats", &stats); err != nil {
			return err
		}
		if stats.Deliveries.Waiting == 0 {
			return nil
		}
		time.Sleep(50 * time.Millisecond) // each question is work, too
	}
	return fmt.Errorf("deliveries still wait after a minute")
}

// doneTimes reads how long each event since then took from receipt to the end of its
// effects, as the log tells it.
func doneTimes(addr string, since time.Time) ([]time.Duration, error) {
	var all []time.Duration
	cursor := ""
	for {
		var page struct {
			Docs []struct {
				ReceivedAt  time.Time `json:"receivedAt"`
				ProcessedAt time.Time `json:"processedAt"`
			} `json:"docs"`
			Next *string `json:"nextCursor"`
		}
		path := "/api/v1/events?source=fal&limit=500&since=" + since.UTC().Format(time.RFC3339) + cursor
		if err := get(addr, path, &page); err != nil {
			return nil, err
		}
		for _, doc := range page.Docs {
			all = append(all, doc.ProcessedAt.Sub(doc.ReceivedAt))
		}
		if page.Next == nil {
			return all, nil
		}
		cursor = "&cursor=" + *page.Next
	}
}

func describeMachine() {
	model := "unknown processor"
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	fmt.Printf("%s, %d cores, %s %s, %s, %s\n", model, runtime.NumCPU(), runtime.GOOS, strings.TrimSpace(string(kernel)),
		runtime.Version(), time.Now().Format(time.DateOnly))
}
