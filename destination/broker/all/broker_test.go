//go:build !slim

package all_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/gomodule/redigo/redis"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"gaff"
	"gaff/client"
	"gaff/destination"
	"gaff/destination/broker/all"
	"gaff/internal/eventually"
	"gaff/store/sqlite"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// rig is a gateway with one destination of kind queue.
type rig struct {
	t  *testing.T
	gw *gaff.Gateway
	st *sqlite.Store
	d  *destination.Destination
}

func newRig(t *testing.T, url, topic string) *rig {
	t.Helper()
	spec := destination.Spec{
		Name: "out", Kind: destination.KindQueue, URL: url, Topic: topic, Secrets: []string{secret}, OrderBy: "/k",
		Timeout: destination.Duration(3 * time.Second), FirstWait: destination.Duration(100 * time.Millisecond), LongestWait: destination.Duration(200 * time.Millisecond),
		BreakFor: destination.Duration(100 * time.Millisecond), MaxAttempts: 200,
	}
	pub, err := all.Open(spec, loopback)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	d, err := destination.New(spec, destination.Options{Publish: pub.Publish, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	st, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gw, err := gaff.New(gaff.Options{Store: st, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Attach(gw), gw.Start(context.Background())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(gw.Stop(context.Background()), pub.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	return &rig{t, gw, st, d}
}

func (r *rig) emit(key string, n int) (id string) {
	r.t.Helper()
	id, err := r.gw.Emit(context.Background(), gaff.Event{
		Source: "shop", Type: "paid", WebhookID: fmt.Sprint(n), Data: json.RawMessage(fmt.Sprintf(`{"k":%q,"n":%d}`, key, n)),
	}, time.Time{})
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// done waits until an event's delivery succeeded, and returns its attempts.
func (r *rig) done(id string) []gaff.Attempt {
	r.t.Helper()
	for until := time.Now().Add(eventually.Limit); ; time.Sleep(eventually.Pause) {
		d, err := r.st.Event(context.Background(), id)
		if err != nil {
			r.t.Fatal(err)
		}
		if d.Status == gaff.StatusSuccess {
			return d.Attempts
		}
		if time.Now().After(until) {
			r.t.Fatalf("%s is %s: %s", id, d.Status, d.Error)
		}
	}
}

// failed waits until an attempt of the event has failed, and returns the event.
func (r *rig) failed(id string) (d *gaff.EventDetail) {
	r.t.Helper()
	eventually.True(r.t, "an attempt fails", func() bool {
		var err error
		if d, err = r.st.Event(context.Background(), id); err != nil {
			r.t.Fatal(err)
		}
		return d.Error != ""
	})
	return d
}

// message is a message read from a broker.
type message struct {
	id, key string
	header  http.Header
	payload []byte
}

// check holds a message against the event.
func (r *rig) check(m message, eventID, key string) {
	r.t.Helper()
	id, err := client.Verify([]string{secret}, m.header, m.payload, time.Now())
	var e client.Envelope
	if err := json.Unmarshal(m.payload, &e); err != nil {
		r.t.Fatal(err)
	}
	if err != nil || id != m.id || !strings.HasPrefix(m.id, "dlv_") || m.key != key || e.ID != eventID || m.header.Get("Content-Type") != "application/json" {
		r.t.Errorf("came %q, key %q, headers %v, verified as %q (%v): %s", m.id, m.key, m.header, id, err, m.payload)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func startNATS(t *testing.T, port int, dir string) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(eventually.Limit) {
		t.Fatal("NATS does not start")
	}
	return s
}

func TestNATS(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), freePort(t)
	s := startNATS(t, port, dir)
	stream := func() jetstream.Stream {
		nc, err := nats.Connect(s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		st, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"gaff.>"}})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	st := stream()
	r := newRig(t, fmt.Sprintf("nats://127.0.0.1:%d", port), "gaff.app")
	id := r.emit("a", 1)
	r.done(id)
	get := func(seq uint64) message {
		m, err := st.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		return message{m.Header.Get("Nats-Msg-Id"), m.Header.Get("Gaff-Key"), http.Header(m.Header), m.Data}
	}
	r.check(get(1), id, "a")
	// While the server is away deliveries wait; they arrive when it is back.
	s.Shutdown()
	s.WaitForShutdown()
	id = r.emit("a", 2)
	r.failed(id)
	s = startNATS(t, port, dir)
	defer s.Shutdown()
	st = stream()
	r.done(id)
	info, err := st.Info(t.Context())
	if err != nil || info.State.Msgs != 2 {
		t.Errorf("%v: %+v", err, info)
	}
	r.check(get(2), id, "a")
	// A subject without a stream is an error.
	lost := newRig(t, fmt.Sprintf("nats://127.0.0.1:%d", port), "nobody.keeps")
	id = lost.emit("a", 1)
	if d := lost.failed(id); d.Status != gaff.StatusPending || !strings.Contains(d.Error, "publish to nobody.keeps") {
		t.Errorf("%s %q, want it pending, and an error of the subject", d.Status, d.Error)
	}
}

func TestKafka(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "events"), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "gaff", "pass"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	addr := cluster.ListenAddrs()[0]
	r := newRig(t, "kafka://gaff:pass@"+addr+"?sasl=scram-sha-256", "events")
	var ids []string
	for i := range 6 {
		ids = append(ids, r.emit([]string{"a", "b"}[i%2], i))
	}
	for _, id := range ids {
		r.done(id)
	}
	reader := newKafkaReader(t, addr)
	byID, byKey, partitions := map[string]message{}, map[string][]string{}, map[string]map[int32]bool{}
	for len(byID) < 6 {
		for _, rec := range reader.next(t) {
			m := message{key: string(rec.Key), header: http.Header{}, payload: rec.Value}
			for _, h := range rec.Headers {
				if h.Key == "gaff-delivery-id" {
					m.id = string(h.Value)
				} else {
					m.header.Set(h.Key, string(h.Value))
				}
			}
			var e client.Envelope
			if err := json.Unmarshal(m.payload, &e); err != nil {
				t.Fatal(err)
			}
			byID[e.ID], byKey[m.key] = m, append(byKey[m.key], e.ID)
			if partitions[m.key] == nil {
				partitions[m.key] = map[int32]bool{}
			}
			partitions[m.key][rec.Partition] = true
		}
	}
	for i, id := range ids {
		r.check(byID[id], id, []string{"a", "b"}[i%2])
	}
	if fmt.Sprint(byKey["a"]) != fmt.Sprint([]string{ids[0], ids[2], ids[4]}) || len(partitions["a"]) != 1 {
		t.Errorf("the order of a: %v in %v", byKey["a"], partitions["a"])
	}
	// A wrong password is a failure that says so, and is tried again.
	bad := newRig(t, "kafka://gaff:wrong@"+addr+"?sasl=scram-sha-256", "events")
	id := bad.emit("a", 1)
	for until := time.Now().Add(eventually.Limit); ; time.Sleep(eventually.Pause) {
		d, err := bad.st.Event(t.Context(), id)
		if err == nil && d.Status == gaff.StatusPending && d.Error != "" {
			break
		}
		if err != nil || time.Now().After(until) {
			t.Fatalf("%v, %+v", err, d)
		}
	}
}

type kafkaReader struct{ cl *kgo.Client }

func newKafkaReader(t *testing.T, addr string) *kafkaReader {
	t.Helper()
	// The same login as the publisher's, through its own options.
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), login())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &kafkaReader{cl}
}

func (k *kafkaReader) next(t *testing.T) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), eventually.Limit)
	defer cancel()
	fetches := k.cl.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	return fetches.Records()
}

func TestRedis(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is missing: tools/test-setup.sh installs it (make test calls it)")
	}
	port, dir := freePort(t), t.TempDir()
	run := func() (stop func()) {
		cmd := exec.Command(program, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", dir, "--requirepass", "pa:ss", "--appendonly", "yes", "--appendfsync", "always", "--save", "")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		stop = func() {
			once.Do(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
		}
		t.Cleanup(stop)
		return stop
	}
	stop := run()
	r := newRig(t, fmt.Sprintf("redis://:pa%%3Ass@127.0.0.1:%d/0?maxlen=1000", port), "events")
	read := func(n int) message {
		t.Helper()
		cl, err := redis.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), redis.DialPassword("pa:ss"))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		entries, err := redis.Values(cl.Do("XRANGE", "events", "-", "+"))
		if err != nil || len(entries) != n {
			t.Fatalf("%v: %d entries, want %d", err, len(entries), n)
		}
		fields, err := redis.StringMap(entries[n-1].([]any)[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		m := message{header: http.Header{}}
		for name, text := range fields {
			switch name {
			case "id":
				m.id = text
			case "key":
				m.key = text
			case "payload":
				m.payload = []byte(text)
			default:
				m.header.Set(name, text)
			}
		}
		return m
	}
	id := r.emit("a", 1)
	r.done(id)
	r.check(read(1), id, "a")
	stop()
	id = r.emit("b", 2)
	for until := time.Now().Add(eventually.Limit); ; time.Sleep(eventually.Pause) {
		if d, err := r.st.Event(t.Context(), id); err != nil || time.Now().After(until) {
			t.Fatalf("no attempt failed with the server away: %v", err)
		} else if len(d.Attempts) > 0 {
			break
		}
	}
	run()
	if attempts := r.done(id); len(attempts) < 2 {
		t.Errorf("%d attempts with the server away", len(attempts))
	}
	r.check(read(2), id, "b")
}

// There is no server of SQS to be had; this one checks the signature as AWS does, with
// AWS's own library, and answers in its form.
func TestSQS(t *testing.T) {
	t.Parallel()
	type sent struct {
		QueueURL               string `json:"QueueUrl"`
		MessageBody            string
		MessageGroupID         string `json:"MessageGroupId"`
		MessageDeduplicationID string `json:"MessageDeduplicationId"`
		MessageAttributes      map[string]struct{ DataType, StringValue string }
	}
	var mu sync.Mutex
	var got []sent
	busy := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		again, err := http.NewRequestWithContext(t.Context(), req.Method, "http://"+req.Host+req.URL.String(), bytes.NewReader(body))
		if err != nil {
			t.Error(err)
		}
		at, err := time.Parse("20060102T150405Z", req.Header.Get("X-Amz-Date"))
		if err != nil {
			t.Error(err)
		}
		for _, name := range []string{"Content-Type", "X-Amz-Target"} {
			again.Header.Set(name, req.Header.Get(name))
		}
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "s/cret+"}, again, hash(body), "sqs", "eu-central-1", at); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		mu.Lock()
		defer mu.Unlock()
		switch {
		case again.Header.Get("Authorization") != req.Header.Get("Authorization") || req.Header.Get("X-Amz-Target") != "AmazonSQS.SendMessage":
			t.Errorf("signed %q, want %q", req.Header.Get("Authorization"), again.Header.Get("Authorization"))
			w.WriteHeader(http.StatusForbidden)
		case busy:
			busy = false
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slow down"}`)
		default:
			var s sent
			if err := json.Unmarshal(body, &s); err != nil {
				t.Error(err)
			}
			got = append(got, s)
			_, _ = io.WriteString(w, `{"MessageId":"m1","MD5OfMessageBody":"x"}`)
		}
	}))
	defer srv.Close()
	queue := srv.URL + "/123456789012/events.fifo"
	r := newRig(t, "sqs://AKID:s%2Fcret%2B@eu-central-1?endpoint="+srv.URL, queue)
	id := r.emit("a", 1)
	attempts := r.done(id)
	if len(attempts) != 2 || !strings.Contains(attempts[0].Error, "RequestThrottled: slow down") {
		t.Errorf("attempts %+v", attempts)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 1 || got[0].QueueURL != queue || got[0].MessageGroupID != "a" || !strings.HasPrefix(got[0].MessageDeduplicationID, "dlv_") {
		t.Fatalf("sent %+v", got)
	}
	m := message{id: got[0].MessageAttributes["gaff-delivery-id"].StringValue, key: got[0].MessageGroupID, header: http.Header{}, payload: []byte(got[0].MessageBody)}
	for name, a := range got[0].MessageAttributes {
		m.header.Set(name, a.StringValue)
	}
	r.check(m, id, "a")
}

func TestAddressesAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, topic, want string }{
		{"nats://", "x", "names no server"},
		{"nats://h:1?x=1", "x", "parameter"},
		{"kafka://h:1?sasl=plain", "x", "user and password"},
		{"kafka://u:p@h:1?sasl=magic", "x", "scram"},
		{"kafka://h:1?tls=maybe", "x", "tls"},
		{"redis://h:1?maxlen=x", "x", "maxlen"},
		{"sqs://eu-central-1", "https://sqs/q", "KEY_ID"},
		{"sqs://a:b@eu-central-1", "events", "queue's URL"},
		{"amqp://h", "x", "unknown broker"},
	} {
		_, err := all.Open(destination.Spec{URL: c.url, Topic: c.topic}, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.url, err, c.want)
		}
	}
	// Private addresses are refused where they are dialled.
	for _, url := range []string{"nats://127.0.0.1:1", "kafka://127.0.0.1:1", "redis://127.0.0.1:1", "sqs://a:b@x?endpoint=http://127.0.0.1:1"} {
		pub, err := all.Open(destination.Spec{URL: url, Topic: "http://127.0.0.1/q"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		if err := pub.Publish(ctx, destination.Message{ID: "dlv_1", Key: "k", Payload: []byte("{}")}); err == nil || !strings.Contains(err.Error(), "is not a public address") && !strings.Contains(err.Error(), "no servers available") && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", url, err)
		}
		cancel()
		_ = pub.Close()
	}
}
