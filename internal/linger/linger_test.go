package linger_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gaff/internal/linger"
)

// upload sends a request head, then n bytes in pieces, and only then reads the answer, as most
// clients do. It returns the answer's status.
func upload(t *testing.T, address, head string, n int, chunked bool) (int, error) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	length := fmt.Sprintf("Content-Length: %d", n)
	if chunked {
		length = "Transfer-Encoding: chunked"
	}
	if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: h\r\n%s%s\r\n\r\n", head, length); err != nil {
		return 0, err
	}
	const piece = 64 << 10
	for sent := 0; sent < n; sent += piece {
		text := strings.Repeat(" ", min(piece, n-sent))
		if chunked {
			text = fmt.Sprintf("%x\r\n%s\r\n", len(text), text)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return 0, fmt.Errorf("after %d bytes: %w", sent, err)
		}
		time.Sleep(time.Millisecond) // slower than the server answers
	}
	if chunked {
		if _, err := io.WriteString(conn, "0\r\n\r\n"); err != nil {
			return 0, err
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	return res.StatusCode, nil
}

func TestEarlyAnswerIsHeard(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"nothing was read": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		},
		"and the connection is to be closed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		},
		"a limit was met": func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<10))
			if err == nil {
				t.Error("the limit was not met")
			}
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		},
		"the body was closed": func(w http.ResponseWriter, r *http.Request) {
			r.Body.Close()
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		},
	} {
		srv := httptest.NewServer(linger.Handler(answer))
		defer srv.Close()
		for _, size := range []int{100 << 10, 1<<20 + 1, 8 << 20} {
			for _, chunked := range []bool{false, true} {
				status, err := upload(t, srv.Listener.Addr().String(), "", size, chunked)
				if err != nil || status != http.StatusRequestEntityTooLarge {
					t.Errorf("%s; %d bytes, chunked %v: heard %d, %v; want 413", name, size, chunked, status, err)
				}
			}
		}
	}
}

// A body that is read to its end costs nothing, and the connection is used again.
func TestWholeBodyIsServedAsUsual(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(linger.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(w, r.Body)
		if err != nil {
			t.Errorf("after %d bytes: %v", n, err)
		}
	})))
	defer srv.Close()
	for range 3 {
		body := strings.Repeat("x", 1<<20)
		res, err := srv.Client().Post(srv.URL, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(got) != body {
			t.Errorf("%d bytes came back (%v), want %d", len(got), err, len(body))
		}
	}
}

// Who asks before sending is answered, and not invited to send.
func TestExpectContinueIsNotInvited(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(linger.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	})))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 413 ") {
		t.Errorf("answered %.40q, %v; want 413", answer, err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the connection is closed after %s; want at once", took)
	}
}
