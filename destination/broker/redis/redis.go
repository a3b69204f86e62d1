// Package redis publishes to Redis streams.
package redis

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"

	"gaff/destination"
	"gaff/destination/broker"
)

// publisher adds to a stream: the fields id, key, payload, and one for each header.
type publisher struct {
	stream string
	maxLen int64
	pool   *redis.Pool
}

const idleTimeout = time.Minute

// Open returns the publisher of a stream, for URLs such as redis://user:password@host:6379/0?maxlen=100000.
func Open(u *url.URL, stream string, d *broker.Dialer) (destination.Publisher, error) {
	q, err := broker.Parameters(u, "maxlen")
	if err != nil {
		return nil, err
	}
	p := &publisher{stream: stream}
	if text := q.Get("maxlen"); text != "" {
		if p.maxLen, err = strconv.ParseInt(text, 10, 64); err != nil || p.maxLen < 1 {
			return nil, errors.New("url: maxlen must be a number of entries, such as 100000")
		}
	}
	if u.Host == "" {
		return nil, errors.New("url: names no server; write redis://user:password@host:6379/0")
	}
	plain := *u
	plain.RawQuery = ""
	p.pool = &redis.Pool{
		MaxIdle: 8, IdleTimeout: idleTimeout,
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialURLContext(ctx, plain.String(), redis.DialContextFunc(d.DialContext), redis.DialWriteTimeout(broker.DialTimeout))
		},
	}
	return p, nil
}

func (p *publisher) Publish(ctx context.Context, m destination.Message) (err error) {
	conn, err := p.pool.GetContext(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	args := redis.Args{p.stream}
	if p.maxLen > 0 {
		args = args.Add("MAXLEN", "~", p.maxLen)
	}
	args = args.Add("*", "id", m.ID, "key", m.Key, "payload", m.Payload)
	var names []string
	for name := range m.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		args = args.Add(name, m.Header[name])
	}
	_, err = redis.DoContext(conn, ctx, "XADD", args...)
	return err
}

func (p *publisher) Close() error { return p.pool.Close() }
