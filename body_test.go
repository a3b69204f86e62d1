package gaff_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
)

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// signed checks X-Sig, hex HMAC-SHA256 of the body, and reads the id from the text.
type signed struct{}

func mac(body string) string {
	m := hmac.New(sha256.New, []byte("s1"))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}

func (signed) Verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	if r.Header.Get("X-Sig") != mac(string(r.Body)) {
		return gaff.Verification{}, errors.New("X-Sig: does not match")
	}
	var body struct{ ID string }
	_ = json.Unmarshal(r.Text(), &body)
	return gaff.Verification{Scheme: "test", Subject: body.ID}, nil
}

func postSigned(t *testing.T, b *bench, source, body, over string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, gaff.PathPrefix+source, strings.NewReader(body))
	req.Header.Set("X-Sig", mac(over))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	b.IngestHandler().ServeHTTP(rec, req)
	return rec
}

// The bytes are verified and stored as received; their text is read.
func TestBodiesAreReadAsTextAndStoredAsReceived(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "signed", Verifier: signed{}, Parser: plain{}, AcceptGzip: true})
	})
	text := func(id string) string { return `{"id":"` + id + `","type":"é"}` }
	utf16 := func(id string) string {
		b := []byte("\xff\xfe")
		for _, r := range text(id) {
			b = append(b, byte(r), byte(r>>8))
		}
		return string(b)
	}
	for name, c := range map[string]struct{ body, over, want, kind, encoding string }{
		"mark":                        {"\ufeff" + text("b1"), "\ufeff" + text("b1"), text("b1"), "application/json", ""},
		"charset":                     {"{\"id\":\"b2\",\"type\":\"\xe9\"}", "{\"id\":\"b2\",\"type\":\"\xe9\"}", text("b2"), "application/json; charset=iso-8859-1", ""},
		"signed, then compressed":     {zipped(t, text("b3")), text("b3"), text("b3"), "", "gzip"},
		"compressed, then signed":     {zipped(t, text("b4")), zipped(t, text("b4")), text("b4"), "", "x-gzip"},
		"unpacked on its way":         {text("b5"), text("b5"), text("b5"), "", "gzip"},
		"UTF-16, unpacked on its way": {utf16("b7"), utf16("b7"), text("b7"), "", "gzip"},
		"a mark, compressed":          {zipped(t, "\ufeff"+text("b6")), "\ufeff" + text("b6"), text("b6"), "", "gzip"},
	} {
		rec := postSigned(t, b, "signed", c.body, c.over, "Content-Type", c.kind, "Content-Encoding", c.encoding)
		var answer struct{ ID string }
		if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != http.StatusOK {
			t.Errorf("%s: answered %d %s", name, rec.Code, rec.Body)
			continue
		}
		d := b.detail(t, answer.ID)
		if string(d.Data) != c.want {
			t.Errorf("%s: data %q, want %q", name, d.Data, c.want)
		}
		if !bytes.Equal(d.Request.Body, []byte(c.body)) {
			t.Errorf("%s: stored %q, want %q", name, d.Request.Body, c.body)
		}
		if d.Verification.Subject != d.WebhookID {
			t.Errorf("%s: the verifier read %q, want %q", name, d.Verification.Subject, d.WebhookID)
		}
	}
}

func TestUnpackedBodiesAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{InFlightBytes: 64 << 10}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "small", Verifier: signed{}, Parser: plain{}, AcceptGzip: true, MaxBodyBytes: 2000})
		b.AddSource(gaff.Source{Name: "large", Verifier: signed{}, Parser: plain{}, AcceptGzip: true, MaxBodyBytes: 1 << 20})
	})
	bomb := zipped(t, strings.Repeat(" ", 100_000))
	if rec := postSigned(t, b, "small", bomb, bomb, "Content-Encoding", "gzip"); rec.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("an authentic bomb is answered %d", rec.Code)
	}
	if rec := postSigned(t, b, "small", bomb, "another", "Content-Encoding", "gzip"); rec.Code != http.StatusUnauthorized {
		t.Errorf("a bomb that is not authentic is answered %d", rec.Code)
	}
	if rec := postSigned(t, b, "large", bomb, bomb, "Content-Encoding", "gzip"); rec.Code != http.StatusServiceUnavailable {
		t.Errorf("what would not fit into limits.in_flight is answered %d", rec.Code)
	}
}

// A body that was refused because its source took no compressed ones is read once it does.
func TestRescueUnpacksBodies(t *testing.T) {
	t.Parallel()
	src := gaff.Source{Name: "signed", Verifier: signed{}, Parser: plain{}}
	b := newBench(t, gaff.Options{}, func(b *bench) { b.AddSource(src) })
	text := `{"id":"r1","type":"t"}`
	if rec := postSigned(t, b, "signed", zipped(t, text), zipped(t, text), "Content-Encoding", "gzip"); rec.Code != http.StatusBadRequest {
		t.Fatalf("answered %d", rec.Code)
	}
	rejected := b.rejections(t, gaff.RejectionFilter{}, 1)
	if len(rejected) != 1 || !strings.Contains(rejected[0].Reason, "accept_gzip") {
		t.Fatalf("%+v", rejected)
	}
	src.AcceptGzip = true
	if err := b.UpdateSource(src); err != nil {
		t.Fatal(err)
	}
	out, err := b.Rescue(context.Background(), rejected[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := b.detail(t, out.EventID); string(d.Data) != text {
		t.Errorf("data %q, want %q", d.Data, text)
	}
}

// Senders over a real connection that lie about their bodies, or keep it waiting.
func TestBodiesThatLie(t *testing.T) {
	t.Parallel()
	b := ingestBench(t)
	srv := httptest.NewUnstartedServer(b.IngestHandler())
	srv.Config.ReadTimeout = 300 * time.Millisecond
	srv.Start()
	defer srv.Close()
	for name, c := range map[string]struct{ head, body, want string }{
		"shorter than told": {"Content-Length: 100", `{"id":"l1"`, "HTTP/1.1 400"},
		"longer than told":  {"Content-Length: 25", `{"id":"l2","type":"paid"}trailing`, "HTTP/1.1 200"},
		"far too long":      {"Content-Length: 99999999999", ``, "HTTP/1.1 413"},
		"negative":          {"Content-Length: -1", ``, "HTTP/1.1 400"},
		"twice":             {"Content-Length: 25\r\nContent-Length: 26", `{"id":"l3","type":"paid"}`, "HTTP/1.1 400"},
		"endless chunks":    {"Transfer-Encoding: chunked", strings.Repeat("64\r\n"+strings.Repeat("x", 100)+"\r\n", 11), "HTTP/1.1 413"},
		"broken chunks":     {"Transfer-Encoding: chunked", "zz\r\n", "HTTP/1.1 400"},
		"good chunks":       {"Transfer-Encoding: chunked", "19\r\n" + `{"id":"l4","type":"paid"}` + "\r\n0\r\n\r\n", "HTTP/1.1 200"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST /api/v1/webhooks/guarded HTTP/1.1\r\nHost: x\r\nX-Pass: open\r\n%s\r\n\r\n%s", c.head, c.body)
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, c.want) {
				t.Errorf("answered %q, %v, want %s", line, err, c.want)
			}
		})
	}
}

// What many senders only claim to send takes no room from one that sends.
func TestClaimedLengthsTakeNoRoom(t *testing.T) {
	t.Parallel()
	b := newBench(t, gaff.Options{InFlightBytes: 4 << 20}, nil)
	srv := httptest.NewServer(b.IngestHandler())
	defer srv.Close()
	for range 40 {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /api/v1/webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n{")
	}
	resp, err := http.Post(srv.URL+"/api/v1/webhooks/shop", "application/json", strings.NewReader(`{"id":"1","type":"paid"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a good sender is answered %d", resp.StatusCode)
	}
}

// stuck verifies no large body before let is closed or the request ends, and counts them.
type stuck struct {
	signed
	entered chan struct{}
	let     chan struct{}
	now     atomic.Int32
}

func (s *stuck) Verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	if len(r.Body) > 1<<20 {
		s.now.Add(1)
		s.entered <- struct{}{}
		select {
		case <-s.let:
		case <-ctx.Done():
		}
	}
	return s.signed.Verify(ctx, r)
}

func TestLargeUnverifiedBodiesHaveAFewPlacesAndDelayNoSmallOne(t *testing.T) {
	t.Parallel()
	v := &stuck{entered: make(chan struct{}, 16), let: make(chan struct{})}
	b := newBench(t, gaff.Options{}, func(b *bench) {
		b.AddSource(gaff.Source{Name: "signed", Verifier: v, Parser: plain{}, MaxBodyBytes: 4 << 20})
	})
	large := `{"id":"` + strings.Repeat("x", 2<<20) + `"}`
	done := make(chan struct{}, 4)
	for range 4 {
		go func() {
			postSigned(t, b, "signed", large, "wrong")
			done <- struct{}{}
		}()
		<-v.entered
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, gaff.PathPrefix+"signed", strings.NewReader(large))
	rec := httptest.NewRecorder()
	b.IngestHandler().ServeHTTP(rec, req)
	if rec.Code != http.StatusServiceUnavailable || v.now.Load() != 4 {
		t.Errorf("a fifth large body: %d, %d are verified at once; want 503 and 4", rec.Code, v.now.Load())
	}
	small := `{"id":"a","type":"t"}`
	if rec := postSigned(t, b, "signed", small, small); rec.Code != http.StatusOK {
		t.Errorf("a small verified body meanwhile: %d %s", rec.Code, rec.Body)
	}
	close(v.let)
	for range 4 {
		<-done
	}
}

// The body of a webhook counts against limits.in_flight for as long as anything holds it, not
// only until its sender got 503.
func TestStalledDiskHoldsNoMoreThanTheBudget(t *testing.T) {
	const budget, size, waves, each = 4 << 20, 512 << 10, 20, 7
	o := gaff.Options{InFlightBytes: budget}
	stalled(t, o, nil, func(t *testing.T, b *bench, mend func()) {
		before := heapMiB()
		for wave := range waves {
			var senders sync.WaitGroup
			for i := range each {
				senders.Go(func() {
					body := fmt.Sprintf(`{"id":"%d-%d","type":"x"}`, wave, i)
					body += strings.Repeat(" ", size-len(body))
					if got := b.post(http.MethodPost, "shop", body).Code; got != http.StatusServiceUnavailable {
						t.Errorf("answered %d, want 503", got)
					}
				})
			}
			senders.Wait()
		}
		if grown := heapMiB() - before; grown > budget>>20+16 {
			t.Errorf("%d MiB are held of %d bodies of %d bytes, want %d at most", grown, waves*each, size, budget>>20+16)
		}
		mend()
		synctest.Wait()
		page, err := b.st.Events(context.Background(), gaff.EventFilter{})
		if err != nil || len(page.Items) != 0 {
			t.Errorf("%d events are stored whose senders got 503 (%v), want none", len(page.Items), err)
		}
		if got := b.post(http.MethodPost, "shop", `{"id":"after","type":"x"}`).Code; got != http.StatusOK {
			t.Errorf("after the disk was mended: answered %d, want 200", got)
		}
	})
}

func heapMiB() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) >> 20
}

// Bodies of a commit that hangs are held by the store, and count until it is done with them.
func TestBodiesInAHungCommitCount(t *testing.T) {
	const size = 600 << 10
	o := gaff.Options{InFlightBytes: 1 << 20}
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t, filepath.Join(t.TempDir(), "gaff.db"))
		b := benchOn(t, st, o, nil)
		hung := make(chan struct{})
		go func() { _ = st.Between(func(*sql.Conn) error { time.Sleep(time.Second); return nil }) }()
		synctest.Wait()
		go func() { _ = st.Write(context.Background(), hang(hung)) }()
		post := func(id string) int {
			body := `{"id":"` + id + `","type":"x"}`
			return b.post(http.MethodPost, "shop", body+strings.Repeat(" ", size-len(body))).Code
		}
		if got := post("first"); got != http.StatusServiceUnavailable {
			t.Errorf("in the hung commit: answered %d, want 503", got)
		}
		began := time.Now()
		if got := post("second"); got != http.StatusServiceUnavailable {
			t.Errorf("beside it: answered %d, want 503", got)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("beside it: answered after %s; want at once, for there is no budget left", took)
		}
		close(hung)
		time.Sleep(time.Second)
		if got := post("third"); got != http.StatusOK {
			t.Errorf("after the commit: answered %d, want 200", got)
		}
		stop(t, b)
		_ = st.Close()
	})
}
