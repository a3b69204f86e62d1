package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// setting reads a number from the environment, for runs that are larger than "make test".
func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// chaosRun is many jobs of an application, at one gateway or more of which the first is killed.
type chaosRun struct {
	*testing.T
	jobs, kills int
	nodes       []*chaosNode
	// body returns the submission of a job by its number.
	body func(n int) string
}

type chaosNode struct {
	*gateway
	dir, addr string
	env       []string
}

func (n *chaosNode) start(t *testing.T) {
	t.Helper()
	var err error
	if n.gateway, err = serve(n.dir, n.env, n.addr); err != nil {
		t.Fatal(err)
	}
}

// start starts gateways with a configuration. base is the URL of the first one, to which webhooks
// are sent.
func (c *chaosRun) start(nodes int, config string, env func(base string) []string) {
	c.Helper()
	base := ""
	for range nodes {
		addr, err := freeAddr()
		if err != nil {
			c.Fatal(err)
		}
		if base == "" {
			base = "http://" + addr
		}
		n := &chaosNode{dir: c.TempDir(), addr: addr}
		n.env = environment(n.dir, addr, append(env(base), "GAFF_LOG_LEVEL=error")...)
		if err := os.WriteFile(filepath.Join(n.dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
			c.Fatal(err)
		}
		n.start(c.T)
		c.nodes = append(c.nodes, n)
	}
	c.Cleanup(func() {
		for _, n := range c.nodes {
			n.kill()
		}
	})
}

// submit is an application: it submits job n until gaff confirms the job.
func (c *chaosRun) submit(client *http.Client, n int) error {
	return poll(time.Minute, func() error {
		address := "http://" + c.nodes[n%len(c.nodes)].addr + "/api/v1/jobs"
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, address, strings.NewReader(c.body(n)))
		if err != nil {
			return fatal{err}
		}
		req.Header.Set("Authorization", "Bearer "+adminToken)
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// submitAll submits all jobs, eight at a time, and kills the first gateway meanwhile.
func (c *chaosRun) submitAll() {
	numbers := make(chan int)
	var submitters sync.WaitGroup
	client := &http.Client{Timeout: 10 * time.Second}
	for range 8 {
		submitters.Go(func() {
			for n := range numbers {
				if err := c.submit(client, n); err != nil {
					c.Errorf("submit job %d: %v", n, err)
				}
			}
		})
	}
	killAfter := map[int]bool{}
	for len(killAfter) < c.kills {
		killAfter[1+rand.IntN(c.jobs-1)] = true
	}
	for n := range c.jobs {
		numbers <- n
		time.Sleep(10 * time.Millisecond) // so that work is under way at the first kill, too
		if killAfter[n] {
			c.nodes[0].kill()
			c.nodes[0].start(c.T)
		}
	}
	close(numbers)
	submitters.Wait()
}

// await waits until lists of the API are empty.
func (c *chaosRun) await(paths ...string) {
	c.Helper()
	err := poll(10*time.Minute, func() error {
		for _, path := range paths {
			var page struct{ Docs []json.RawMessage }
			if err := c.nodes[0].get(path+"&limit=1", &page); err != nil {
				return fatal{err}
			}
			if len(page.Docs) > 0 {
				time.Sleep(50 * time.Millisecond)
				return fmt.Errorf("%s has %s", path, page.Docs[0])
			}
		}
		return nil
	})
	if err != nil {
		c.Fatal(err)
	}
}
