// Package pgtest gives tests a real PostgreSQL: the server named by GAFF_TEST_POSTGRES_URL,
// else one of their own, started from the installed package in a temporary folder.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL of the tests' own.
type Server struct {
	// Addr is host and port.
	Addr string

	dir      string
	bin      string
	settings []string
	cred     *syscall.Credential
	cmd      *exec.Cmd
	done     chan error
	watch    *exec.Cmd
	lifeline io.Closer
}

// Owner is the role that owns the test databases; it is not a superuser.
const Owner = "gaff"

// NewServer starts a server that listens on 127.0.0.1 and ends with this process. durable
// says whether it syncs: without, it is faster, and loses all when the machine stops.
func NewServer(durable bool, settings ...string) (*Server, error) {
	s := &Server{settings: settings}
	if !durable {
		s.settings = append(s.settings, "fsync=off", "full_page_writes=off")
	}
	if err := s.init(); err != nil {
		s.Close()
		return nil, fmt.Errorf("start a PostgreSQL for the tests: %w", err)
	}
	return s, nil
}

func (s *Server) init() error {
	if err := s.place(); err != nil {
		return err
	}
	// A locale that sorts otherwise than by bytes, as servers in the field have.
	base := []string{"-D", filepath.Join(s.dir, "data"), "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"}
	if out, err := s.tool("initdb", append(base, "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")...); err != nil {
		if err := os.RemoveAll(filepath.Join(s.dir, "data")); err != nil {
			return err
		}
		if out2, err := s.tool("initdb", base...); err != nil {
			return fmt.Errorf("initdb: %w\n%s\n%s", err, out, out2)
		}
	}
	if err := s.choosePort(); err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return err
	}
	return s.admin(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `create role `+Owner+` login createdb`)
		return err
	})
}

func (s *Server) choosePort() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.Addr = ln.Addr().String()
	return ln.Close()
}

// place makes the folder of a server, and what removes it.
func (s *Server) place() (err error) {
	if s.bin, err = findBin(); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "gaff-pg-"); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		// PostgreSQL refuses to run as root.
		u, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("root cannot run it, and %w", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return err
		}
	}
	// However this process ends: when its end of the pipe closes, the server goes,
	// and its folder with it.
	s.watch = exec.Command("/bin/sh", "-c",
		`read -r _; kill -QUIT "$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null)" 2>/dev/null; sleep 0.2; rm -rf "$0"`, s.dir)
	s.watch.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.lifeline, err = s.watch.StdinPipe(); err != nil {
		return err
	}
	if err := s.watch.Start(); err != nil {
		return err
	}
	return nil
}

func (s *Server) tool(name string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: s.cred}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Start starts a server that was stopped or killed, and waits until it answers.
func (s *Server) Start() error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-D", filepath.Join(s.dir, "data"), "-h", "127.0.0.1", "-p", port, "-k", s.dir}
	for _, setting := range append([]string{
		"shared_buffers=64MB", "max_connections=200", "max_wal_size=512MB",
	}, s.settings...) {
		args = append(args, "-c", setting)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		// A killed server's children hold its memory for a moment; it does not start then.
		s.cmd = exec.Command(filepath.Join(s.bin, "postgres"), args...)
		s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, log, log
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setpgid: true}
		if err := s.cmd.Start(); err != nil {
			return err
		}
		done := make(chan error, 1)
		cmd := s.cmd
		go func() { done <- cmd.Wait() }()
		s.done = done
		for {
			err = s.admin(func(ctx context.Context, c *pgx.Conn) error { return c.Ping(ctx) })
			if err == nil {
				return nil
			}
			if time.Now().After(deadline) {
				text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
				return fmt.Errorf("it does not answer: %w\n%s", err, text[max(len(text)-2000, 0):])
			}
			select {
			case err := <-done:
				done <- err
			case <-time.After(10 * time.Millisecond):
				continue
			}
			time.Sleep(50 * time.Millisecond)
			break
		}
	}
}

// Kill ends the server as a crash would.
func (s *Server) Kill() { s.signal(syscall.SIGKILL) }

// Stop shuts the server down at once and cleanly, ending all connections.
func (s *Server) Stop() { s.signal(syscall.SIGINT) }

func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil || s.done == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	err := <-s.done
	s.done <- err
}

// Close ends the server and removes its folder.
func (s *Server) Close() {
	if s.lifeline != nil {
		s.signal(syscall.SIGQUIT)
		_ = s.lifeline.Close()
		_ = s.watch.Wait()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// URL is the address of a database on the server, for a role.
func (s *Server) URL(role, database string) string {
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", role, s.Addr, database)
}

// Database makes an empty database and returns its address, for the owner.
func (s *Server) Database(name string) (string, error) {
	err := s.admin(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `create database `+name+` owner `+Owner+` template template0`)
		return err
	})
	return s.URL(Owner, name), err
}

// Pid is the server's main process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

func (s *Server) admin(fn func(context.Context, *pgx.Conn) error) error {
	return connect(s.URL("postgres", "postgres"), fn)
}

func connect(url string, fn func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, c), c.Close(ctx))
}

// Bin is the folder of the newest installed PostgreSQL's programs.
func Bin() (string, error) { return findBin() }

func findBin() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	if len(found) > 0 {
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("no PostgreSQL is installed: run tools/test-setup.sh, or set GAFF_TEST_POSTGRES_URL to a server on which databases may be created")
	}
	return filepath.Dir(path), nil
}
