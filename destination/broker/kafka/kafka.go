// Package kafka publishes to Kafka.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"gaff/destination"
	"gaff/destination/broker"
)

// publisher writes to a topic and waits for all replicas. The record's key is the order key, so
// deliveries of one key stay in one partition.
type publisher struct {
	topic string
	cl    broker.Lazy[*kgo.Client]
}

// Open returns the publisher of a topic, for URLs such as kafka://user:password@host:9092?tls=true.
func Open(u *url.URL, topic string, d *broker.Dialer) (destination.Publisher, error) {
	q, err := broker.Parameters(u, "brokers", "tls", "sasl")
	if err != nil {
		return nil, err
	}
	if u.Host == "" {
		return nil, errors.New("url: names no broker; write kafka://host:9092")
	}
	if p := q.Get("tls"); p != "" && p != "true" && p != "false" {
		return nil, errors.New("url: tls must be true or false")
	}
	seeds := []string{u.Host}
	for _, more := range strings.Split(q.Get("brokers"), ",") {
		if more != "" {
			seeds = append(seeds, more)
		}
	}
	dial := d.DialContext
	if q.Get("tls") == "true" {
		dial = tlsDial(d, &tls.Config{MinVersion: tls.VersionTLS12})
	}
	o := []kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.ClientID("gaff"), kgo.Dialer(dial), kgo.RequiredAcks(kgo.AllISRAcks()),
		// Deliveries are retried by the gateway: the client must not go on after their timeout.
		kgo.RecordRetries(3), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(10_000),
	}
	pass, _ := u.User.Password()
	switch mechanism := q.Get("sasl"); {
	case mechanism == "" && u.User == nil:
	case !slices.Contains([]string{"", "plain", "scram-sha-256", "scram-sha-512"}, mechanism):
		return nil, fmt.Errorf("url: sasl must be plain, scram-sha-256 or scram-sha-512")
	case u.User == nil:
		return nil, errors.New("url: sasl needs a user and password: kafka://user:password@host")
	case mechanism == "scram-sha-256":
		o = append(o, kgo.SASL(scram.Auth{User: u.User.Username(), Pass: pass}.AsSha256Mechanism()))
	case mechanism == "scram-sha-512":
		o = append(o, kgo.SASL(scram.Auth{User: u.User.Username(), Pass: pass}.AsSha512Mechanism()))
	default:
		o = append(o, kgo.SASL(plain.Auth{User: u.User.Username(), Pass: pass}.AsMechanism()))
	}
	p := &publisher{topic: topic}
	p.cl.Make = func(context.Context) (*kgo.Client, error) { return kgo.NewClient(o...) }
	return p, nil
}

func (p *publisher) Publish(ctx context.Context, m destination.Message) error {
	cl, err := p.cl.Get(ctx)
	if err != nil {
		return err
	}
	r := &kgo.Record{Topic: p.topic, Key: []byte(m.Key), Value: m.Payload, Headers: []kgo.RecordHeader{{Key: "gaff-delivery-id", Value: []byte(m.ID)}}}
	for name, value := range m.Header {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	return cl.ProduceSync(ctx, r).FirstErr()
}

func (p *publisher) Close() error {
	if cl, ok := p.cl.Made(); ok {
		cl.Close()
	}
	return nil
}
