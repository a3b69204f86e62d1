// Command bench measures gaff beside a bare HTTP server, in one run on one machine, so
// that the ratios mean the same on another one. Each server is a process of its own; this
// one makes the load. It sends to 127.0.0.1 only.
//
//	go run ./internal/bench -gaff bin/gaff
//	go run ./internal/bench -gaff bin/gaff -vs /tmp/gaff-before
package main

import (
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
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	secret = "bench-secret"
	token  = "bench-token-0123456789abcdef"
)

func main() {
	var (
		binary   = flag.String("gaff", "bin/gaff", "the gaff binary to measure")
		vs       = flag.String("vs", "", "another gaff binary, measured in turns with -gaff; ratios of the two are printed")
		duration = flag.Duration("d", 5*time.Second, "how long each measurement takes")
		warmup   = flag.Duration("warmup", 2*time.Second, "how long each load runs before it is measured for the first time")
		rounds   = flag.Int("rounds", 3, "how often each is repeated; medians are printed")
		only     = flag.String("only", "", `measure only these rows of receiving, such as "fal@64,custom@1": source and connections; with -postgres "1@66,2@66": nodes and connections`)
		paced    = flag.Int("paced", 0, "measure only so many runs of ten seconds with 1,000 fal webhooks a second, the builds in turns")
		pg       = flag.Bool("postgres", false, "measure one, two and three nodes on a PostgreSQL of the tests' own, and a backlog to one destination; with -forward that alone")
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
	if *ids != "random" && *ids != "rising" {
		exit(fmt.Errorf("unknown -ids %q: want random or rising", *ids))
	}
	path, err := filepath.Abs(*binary) // the gateway runs in a folder of its own
	if err != nil {
		exit(err)
	}
	builds := []build{{"gaff", path}}
	if *vs != "" {
		other, err := filepath.Abs(*vs)
		if err != nil {
			exit(err)
		}
		builds = []build{{"before", other}, {"after", path}}
	}
	opt := options{builds: builds, duration: *duration, warmup: *warmup, rounds: *rounds, only: *only, paced: *paced}
	if *logs > 0 {
		exit(runLogs(path, *logs, 12**duration))
	}
	if *backfill > 0 {
		exit(runBackfill(path, *backfill, 4**duration))
	}
	if *console > 0 {
		exit(measureConsole(path, *console))
	}
	if *pg {
		exit(runPostgres(opt))
	}
	if !*forwardAlone {
		if err := runAccept(opt); err != nil {
			exit(err)
		}
	}
	if *only != "" || *paced > 0 {
		exit(nil)
	}
	exit(runForward(opt))
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
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
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
// effects, as the log reports it.
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
