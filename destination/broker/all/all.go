//go:build !slim

// Package all lists the brokers that gaff has. A broker is one package, and one line here.
package all

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"gaff/destination"
	"gaff/destination/broker"
	"gaff/destination/broker/kafka"
	"gaff/destination/broker/nats"
	"gaff/destination/broker/redis"
	"gaff/destination/broker/sqs"
)

// brokers has the function that opens each kind of broker, by the scheme of its URL.
var brokers = map[string]func(u *url.URL, topic string, d *broker.Dialer) (destination.Publisher, error){
	"nats": nats.Open, "kafka": kafka.Open, "redis": redis.Open, "rediss": redis.Open, "sqs": sqs.Open,
}

// Open returns the publisher of a destination of kind queue. It connects at the first message.
// allow lists addresses that may be dialled although they are not public.
func Open(s destination.Spec, allow []netip.Prefix) (destination.Publisher, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, errors.New("url: must name the broker, such as nats://host:4222")
	}
	open := brokers[u.Scheme]
	if open == nil {
		return nil, fmt.Errorf("url: unknown broker %.20q: want %s", u.Scheme, strings.Join(slices.Sorted(maps.Keys(brokers)), ", "))
	}
	return open(u, s.Topic, &broker.Dialer{Allow: allow})
}
