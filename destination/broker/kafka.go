//go:build !slim

package broker

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
)

// kafkaPublisher writes to a topic, all replicas confirming. The record's key is the order
// key, so what is in order stays in one partition.
type kafkaPublisher struct {
	topic string
	cl    lazy[*kgo.Client]
}

func newKafka(u *url.URL, topic string, d *dialer) (Publisher, error) {
	q, err := parameters(u, "brokers", "tls", "sasl")
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
		// The engine tries again; a record must not be tried beyond its delivery's timeout.
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
	p := &kafkaPublisher{topic: topic}
	p.cl.make = func(context.Context) (*kgo.Client, error) { return kgo.NewClient(o...) }
	return p, nil
}

func (p *kafkaPublisher) Publish(ctx context.Context, m destination.Message) error {
	cl, err := p.cl.get(ctx)
	if err != nil {
		return err
	}
	r := &kgo.Record{Topic: p.topic, Key: []byte(m.Key), Value: m.Payload, Headers: []kgo.RecordHeader{{Key: "gaff-delivery-id", Value: []byte(m.ID)}}}
	for name, value := range m.Header {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	return cl.ProduceSync(ctx, r).FirstErr()
}

func (p *kafkaPublisher) Close() error {
	if cl, ok := p.cl.made(); ok {
		cl.Close()
	}
	return nil
}
