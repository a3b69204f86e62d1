//go:build !slim

// Package broker hands events to message brokers: NATS JetStream, Kafka, Redis streams and
// Amazon SQS. A publisher returns once the broker has confirmed that it keeps the message;
// everything else (retries, order, the circuit) is the forwarding engine's.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"gaff/destination"
	"gaff/internal/safehttp"
)

// Publisher is a connection to a broker, made at the first message.
type Publisher interface {
	Publish(ctx context.Context, m destination.Message) error
	Close() error
}

// Open makes the publisher of a destination of kind queue. It does not connect yet. allow
// holds the addresses that may be reached although they are not public.
func Open(s destination.Spec, allow []netip.Prefix) (Publisher, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("url: cannot be read")
	}
	d := &dialer{allow: allow}
	switch u.Scheme {
	case "nats":
		return newNATS(u, s.Topic, d)
	case "kafka":
		return newKafka(u, s.Topic, d)
	case "redis", "rediss":
		return newRedis(u, s.Topic, d)
	case "sqs":
		return newSQS(u, s.Topic, allow)
	}
	return nil, fmt.Errorf("url: %.20q is no broker: nats, kafka, redis, rediss and sqs are", u.Scheme)
}

const dialTimeout = 10 * time.Second

// dialer judges the address that is really dialled, after the name was resolved.
type dialer struct{ allow []netip.Prefix }

func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	nd := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%s: %w", address, safehttp.ErrForbidden)
		}
		return safehttp.CheckAddr(at.Addr(), d.allow)
	}}
	return nd.DialContext(ctx, network, address)
}

// Dial is DialContext for libraries without contexts.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// lazy makes something at its first use, and again after a failure. One caller makes it, and
// the others wait for that, each for as long as its context allows.
type lazy[T any] struct {
	mu   sync.Mutex
	has  bool
	v    T
	busy chan struct{} // closed when the attempt that is under way has ended; nil if none is
	make func(context.Context) (T, error)
}

func (l *lazy[T]) get(ctx context.Context) (v T, err error) {
	for {
		l.mu.Lock()
		if l.has {
			defer l.mu.Unlock()
			return l.v, nil
		}
		busy := l.busy
		if busy == nil {
			l.busy = make(chan struct{})
			l.mu.Unlock()
			return l.fill(ctx)
		}
		l.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return v, context.Cause(ctx)
		}
	}
}

// fill makes it, for all who wait.
func (l *lazy[T]) fill(ctx context.Context) (v T, err error) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if err == nil {
			l.v, l.has = v, true
		}
		close(l.busy)
		l.busy = nil
	}()
	err = errors.New("connecting panicked") // unless it returns
	v, err = l.make(ctx)
	return v, err
}

// made returns what there is, for closing it.
func (l *lazy[T]) made() (v T, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ok, l.has = l.has, false
	return l.v, ok
}

// parameters reads the query of a broker's address; one that is not known is an error.
func parameters(u *url.URL, known ...string) (url.Values, error) {
	q := u.Query()
	for name := range q {
		ok := false
		for _, k := range known {
			ok = ok || k == name
		}
		if !ok {
			return nil, fmt.Errorf("url: parameter %.40q is not known; %s are", name, strings.Join(known, ", "))
		}
	}
	return q, nil
}
