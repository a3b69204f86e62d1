// Package s3test gives tests a real S3 server, that of tools/s3.
package s3test

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Server is a running S3 server; its keys are in the environment of the test.
type Server struct {
	// Endpoint is its URL, and Dir the folder of its buckets.
	Endpoint, Dir string
}

// Environ are the variables with the keys, for programs that a test starts.
var Environ = []string{"AWS_ACCESS_KEY_ID=test-key", "AWS_SECRET_ACCESS_KEY=test-secret"}

// Start builds and runs the server with a bucket of the name. The first build takes half a minute.
// tools is the folder of the repository's tools, seen from the test.
func Start(t *testing.T, tools, bucket string) *Server {
	t.Helper()
	program := filepath.Join(t.TempDir(), "s3")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = filepath.Join(tools, "s3")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the S3 server: %v\n%s", err, said)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	dir := t.TempDir()
	s := &Server{Endpoint: "http://" + addr, Dir: filepath.Join(dir, "buckets")}
	if err := os.MkdirAll(filepath.Join(s.Dir, bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, addr, dir)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for range 1000 {
		if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr); err == nil {
			c.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return s
}

// URL is the address of a prefix in a bucket.
func (s *Server) URL(bucket, prefix string) string {
	return "s3://" + bucket + "/" + prefix + "?region=us-east-1&path_style=true&endpoint=" + url.QueryEscape(s.Endpoint)
}
