package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gaff/internal/eventually"
	"gaff/internal/pgtest"
)

// clusterLease is how soon the others take over.
const clusterLease = 3 * time.Second

// node is a place in the cluster, where gateways come and go.
type node struct {
	dir, addr string
	env       []string

	mu sync.Mutex
	g  *gateway
}

func (n *node) start() error {
	g, err := serve(n.dir, n.env, n.addr)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.g = g
	n.mu.Unlock()
	return nil
}

func (n *node) kill() {
	n.mu.Lock()
	g := n.g
	n.mu.Unlock()
	g.kill()
}

// A workflow that is written on one node is used by the others, also when that node is gone.
func TestClusterFollowsWrittenWorkflow(t *testing.T) {
	t.Parallel()
	server, err := pgtest.NewServer(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	database, err := server.Database("written")
	if err != nil {
		t.Fatal(err)
	}
	nodes := make([]*node, 2)
	for i := range nodes {
		n := &node{dir: t.TempDir()}
		if n.addr, err = freeAddr(); err != nil {
			t.Fatal(err)
		}
		n.env = environment(n.dir, n.addr, "GAFF_LOG_LEVEL=error", "GAFF_DATABASE_URL="+database)
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.kill)
		nodes[i] = n
	}
	body := `{"text":"name: paid\non:\n  - event: custom:paid\nsteps:\n  - name: look\n    approve: {}\n"}`
	nodes[0].g.call(t, http.MethodPost, "/api/v1/workflows", body, http.StatusCreated)
	other := nodes[1].g
	sent := 0
	err = poll(eventually.Limit, func() error {
		// The other node routes the event once it has followed the change; requests for the
		// workflow would have it look for changes themselves.
		sent++
		other.sendCustom(t, fmt.Sprintf(`{"type":"paid","id":"p%d"}`, sent))
		var runs struct{ Docs []struct{ Workflow string } }
		if err := other.get("/api/v1/runs", &runs); err != nil {
			return err
		}
		if len(runs.Docs) == 0 {
			return fmt.Errorf("no run after %d events", sent)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	nodes[0].kill()
	other.call(t, http.MethodPost, "/api/v1/runs", `{"workflow":"paid"}`, http.StatusAccepted)
}

// TestClusterCrash kills nodes and the database at random moments, under load on all
// nodes. Afterwards everything that was answered 200 must be there, and every effect must
// have happened exactly once.
func TestClusterCrash(t *testing.T) {
	// By default it is short, and leaves the machine to the other tests.
	seconds, pace := 15, 20*time.Millisecond
	if text := os.Getenv("GAFF_CLUSTER_SECONDS"); text != "" {
		var err error
		if seconds, err = strconv.Atoi(text); err != nil {
			t.Fatalf("GAFF_CLUSTER_SECONDS: %v", err)
		}
		pace = 0
	}
	t.Parallel()
	server, err := pgtest.NewServer(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	database, err := server.Database("cluster")
	if err != nil {
		t.Fatal(err)
	}
	nodes := make([]*node, 3)
	for i := range nodes {
		n := &node{dir: t.TempDir()}
		if n.addr, err = freeAddr(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(n.dir, "gaff.yaml"), fmt.Appendf(nil, "limits: {lease: %s}\n", clusterLease), 0o600); err != nil {
			t.Fatal(err)
		}
		n.env = environment(n.dir, n.addr, "GAFF_LOG_LEVEL=error", "GAFF_DATABASE_URL="+database)
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.kill)
		nodes[i] = n
	}
	sent := &ledger{acknowledged: map[string]webhook{}}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var senders sync.WaitGroup
	var tries atomic.Int64
	for i := range 12 {
		senders.Go(func() { sent.insist(ctx, t, nodes, i, pace, &tries) })
	}
	nodeKills, serverKills := harm(t, server, nodes, time.Duration(seconds)*time.Second)
	// The last node is left dead: what it was working on is the others' now.
	nodes[2].kill()
	cancel()
	senders.Wait()
	dead := time.Now()
	g := nodes[0].g
	left := -1
	err = poll(2*time.Minute, func() error {
		var stats struct {
			Deliveries struct{ Waiting int } `json:"deliveries"`
		}
		if err := g.get("/api/v1/stats", &stats); err != nil {
			return err
		}
		if left < 0 {
			left = stats.Deliveries.Waiting
		}
		if stats.Deliveries.Waiting > 0 {
			return fmt.Errorf("%d deliveries wait", stats.Deliveries.Waiting)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(dead)
	lost, doubled := sent.audit(t, g)
	t.Logf("%d s: %d nodes killed, the database killed or stopped %d times; %d acknowledged in %d tries, %d lost, %d doubled; the %d deliveries that were left then, the last dead node's among them, were done after %s (lease %s)",
		seconds, nodeKills, serverKills, len(sent.acknowledged), tries.Load(), lost, doubled, left, took.Round(10*time.Millisecond), clusterLease)
	if len(sent.acknowledged) < 20*seconds {
		t.Errorf("only %d webhooks were acknowledged: the test did not load the gateways", len(sent.acknowledged))
	}
	if nodeKills < seconds/8 || serverKills < 1 {
		t.Errorf("only %d nodes and %d servers were killed", nodeKills, serverKills)
	}
	// A second node shows the same.
	lost, doubled = sent.audit(t, nodes[1].g)
	if lost+doubled > 0 {
		t.Errorf("another node shows %d lost, %d doubled", lost, doubled)
	}
}

// harm kills, and starts again, for a while.
func harm(t *testing.T, server *pgtest.Server, nodes []*node, d time.Duration) (nodeKills, serverKills int) {
	t.Helper()
	for end, round := time.Now().Add(d), 0; time.Now().Before(end); round++ {
		time.Sleep(time.Duration(300+rand.IntN(1200)) * time.Millisecond)
		down := time.Duration(rand.IntN(800)) * time.Millisecond
		if round%4 == 2 {
			if rand.IntN(3) == 0 {
				server.Stop()
			} else {
				server.Kill()
			}
			serverKills++
			time.Sleep(down)
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		n := nodes[rand.IntN(len(nodes))]
		n.kill()
		nodeKills++
		time.Sleep(down)
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
	}
	return nodeKills, serverKills
}

// insist sends webhooks as real senders do: one that is not answered well comes again, to
// another node.
func (l *ledger) insist(ctx context.Context, t *testing.T, nodes []*node, sender int, pace time.Duration, tries *atomic.Int64) {
	// A live node must answer in time even if its database does not.
	client := &http.Client{Timeout: 8 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		time.Sleep(pace)
		w := makeWebhook(fmt.Sprintf("%d-%d", sender, n), n)
		for try := 0; ; try++ {
			tries.Add(1)
			id, _, err := send(context.WithoutCancel(ctx), client, "http://"+nodes[(sender+try)%len(nodes)].addr, w)
			if err == nil {
				l.mu.Lock()
				l.acknowledged[id] = w
				l.mu.Unlock()
				break
			}
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				t.Errorf("no answer in time: %v", err)
			}
			if ctx.Err() != nil {
				return // not acknowledged: it may be kept or not
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}
