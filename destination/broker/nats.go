//go:build !slim

package broker

import (
	"context"
	"fmt"
	"net/url"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gaff/destination"
)

// natsPublisher publishes to a subject that a stream of JetStream keeps. The message's id is
// the delivery's, so a stream leaves out what it has already (within its duplicate window).
type natsPublisher struct {
	subject string
	conn    lazy[*natsConn]
}

type natsConn struct {
	nc *nats.Conn
	js jetstream.JetStream
}

func newNATS(u *url.URL, subject string, d *dialer) (Publisher, error) {
	if _, err := parameters(u); err != nil {
		return nil, err
	}
	if u.Host == "" {
		return nil, fmt.Errorf("url: names no server; write nats://host:4222")
	}
	p := &natsPublisher{subject: subject}
	p.conn.make = func(context.Context) (*natsConn, error) {
		nc, err := nats.Connect(u.String(), nats.Name("gaff"), nats.SetCustomDialer(d), nats.Timeout(dialTimeout),
			nats.MaxReconnects(-1), nats.NoEcho(), nats.IgnoreDiscoveredServers())
		if err != nil {
			return nil, err
		}
		js, err := jetstream.New(nc)
		if err != nil {
			nc.Close()
			return nil, err
		}
		return &natsConn{nc, js}, nil
	}
	return p, nil
}

func (p *natsPublisher) Publish(ctx context.Context, m destination.Message) error {
	c, err := p.conn.get(ctx)
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

func (p *natsPublisher) Close() error {
	if c, ok := p.conn.made(); ok {
		c.nc.Close()
	}
	return nil
}
