// Package nats publishes to NATS JetStream.
package nats

import (
	"context"
	"fmt"
	"net/url"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gaff/destination"
	"gaff/destination/broker"
)

// publisher publishes to a subject that a stream of JetStream stores. The message's id is the
// delivery's, so a stream drops repetitions (within its duplicate window).
type publisher struct {
	subject string
	conn    broker.Lazy[*conn]
}

type conn struct {
	nc *nats.Conn
	js jetstream.JetStream
}

// Open returns the publisher of a subject, for URLs such as nats://host:4222.
func Open(u *url.URL, subject string, d *broker.Dialer) (destination.Publisher, error) {
	if _, err := broker.Parameters(u); err != nil {
		return nil, err
	}
	if u.Host == "" {
		return nil, fmt.Errorf("url: names no server; write nats://host:4222")
	}
	p := &publisher{subject: subject}
	p.conn.Make = func(context.Context) (*conn, error) {
		nc, err := nats.Connect(u.String(), nats.Name("gaff"), nats.SetCustomDialer(d), nats.Timeout(broker.DialTimeout),
			nats.MaxReconnects(-1), nats.NoEcho(), nats.IgnoreDiscoveredServers())
		if err != nil {
			return nil, err
		}
		js, err := jetstream.New(nc)
		if err != nil {
			nc.Close()
			return nil, err
		}
		return &conn{nc, js}, nil
	}
	return p, nil
}

func (p *publisher) Publish(ctx context.Context, m destination.Message) error {
	c, err := p.conn.Get(ctx)
	if err != nil {
		return err
	}
	msg := nats.NewMsg(p.subject)
	msg.Data = m.Payload
	for name, value := range m.Header {
		msg.Header.Set(name, value)
	}
	msg.Header.Set("Gaff-Key", m.Key)
	_, err = c.js.PublishMsg(ctx, msg, jetstream.WithMsgID(m.ID), jetstream.WithRetryAttempts(0))
	return err
}

func (p *publisher) Close() error {
	if c, ok := p.conn.Made(); ok {
		c.nc.Close()
	}
	return nil
}
