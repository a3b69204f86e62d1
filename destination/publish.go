package destination

import (
	"context"
	"errors"
	"fmt"

	"gaff"
	"gaff/internal/redact"
)

// Message is a message to a broker.
type Message struct {
	ID      string // the delivery's, the same at each attempt
	Key     string // the order key, or the event's id
	Header  map[string]string
	Payload []byte
}

// Publisher hands messages to a broker.
type Publisher interface {
	Publish(ctx context.Context, m Message) error
	Close() error
}

func (d *Destination) publish(ctx context.Context, out *outgoing, delivery gaff.Delivery, ev *gaff.Event) error {
	key := delivery.Key
	if key == "" {
		key = ev.ID
	}
	m := Message{ID: delivery.ID, Key: key, Header: map[string]string{}, Payload: out.body}
	for name, values := range out.header {
		m.Header[name] = values[0]
	}
	err := d.o.Publish(ctx, m)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	d.record(delivery.ID, err)
	if err != nil {
		return redact.Errorf("publish to %s: %w", redact.Own(d.Topic), err)
	}
	return nil
}
