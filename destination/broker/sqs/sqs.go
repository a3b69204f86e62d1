// Package sqs publishes to Amazon SQS.
package sqs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"gaff/destination"
	"gaff/destination/broker"
	"gaff/internal/redact"
	"gaff/internal/safehttp"
)

// publisher sends to a queue, by one call that AWS's library signs: the whole client for SQS is
// forty times the size. Queues whose names end in .fifo keep the order of a key and drop
// repetitions.
type publisher struct {
	queue, endpoint, region string
	keys                    aws.Credentials
	signer                  *v4.Signer
	client                  *http.Client
	fifo                    bool
}

// Open returns the publisher of a queue, whose URL is the topic, for URLs such as
// sqs://KEY_ID:SECRET@eu-central-1.
func Open(u *url.URL, queue string, d *broker.Dialer) (destination.Publisher, error) {
	q, err := broker.Parameters(u, "endpoint", "token")
	if err != nil {
		return nil, err
	}
	secret, _ := u.User.Password()
	switch at, err := url.Parse(queue); {
	case u.Host == "" || u.User.Username() == "" || secret == "":
		return nil, errors.New("url: write sqs://KEY_ID:SECRET@region, the secret with / and + as %2F and %2B; or name a variable: env:NAME")
	case err != nil || at.Scheme != "https" && at.Scheme != "http" || at.Host == "":
		return nil, errors.New("topic: must be the queue's URL, such as https://sqs.eu-central-1.amazonaws.com/123456789012/events")
	}
	p := &publisher{
		queue: queue, region: u.Host, endpoint: q.Get("endpoint"), signer: v4.NewSigner(), fifo: strings.HasSuffix(queue, ".fifo"),
		keys:   aws.Credentials{AccessKeyID: u.User.Username(), SecretAccessKey: secret, SessionToken: q.Get("token")},
		client: safehttp.New(safehttp.Options{Allow: d.Allow, UserAgent: "gaff"}),
	}
	if p.endpoint == "" {
		p.endpoint = "https://sqs." + p.region + ".amazonaws.com/"
	}
	return p, nil
}

// maxAttributes is how many attributes SQS allows in a message.
const maxAttributes = 10

type attribute struct {
	DataType, StringValue string
}

func (p *publisher) Publish(ctx context.Context, m destination.Message) error {
	body := map[string]any{"QueueUrl": p.queue, "MessageBody": string(m.Payload)}
	attributes := map[string]attribute{"gaff-delivery-id": {"String", m.ID}}
	for _, name := range []string{"Content-Type", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		if value := m.Header[name]; value != "" {
			attributes[name] = attribute{"String", value}
		}
	}
	for name, value := range m.Header {
		if len(attributes) < maxAttributes && value != "" {
			attributes[name] = attribute{"String", value}
		}
	}
	body["MessageAttributes"] = attributes
	if p.fifo {
		body["MessageGroupId"], body["MessageDeduplicationId"] = groupOf(m.Key), groupOf(m.ID)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.endpoint, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
	sum := sha256.Sum256(text)
	if err := p.signer.SignHTTP(ctx, p.keys, req, hex.EncodeToString(sum[:]), "sqs", p.region, time.Now()); err != nil {
		return err
	}
	res, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 16<<10))
	if err != nil {
		return err
	}
	var said struct {
		MessageID string `json:"MessageId"`
		Type      string `json:"__type"`
		Message   string `json:"message"`
	}
	_ = json.Unmarshal(answer, &said) // if it is not JSON, the fields stay empty
	if res.StatusCode != http.StatusOK || said.MessageID == "" {
		_, kind, found := strings.Cut(said.Type, "#")
		if !found {
			kind = said.Type
		}
		return redact.Errorf("answered %d %.80s: %.200s", res.StatusCode, kind, said.Message)
	}
	return nil
}

// groupOf returns a key as SQS allows it: at most 128 printable ASCII characters.
func groupOf(key string) string {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' || i >= 128 {
			sum := sha256.Sum256([]byte(key))
			return hex.EncodeToString(sum[:])
		}
	}
	return key
}

func (p *publisher) Close() error {
	p.client.CloseIdleConnections()
	return nil
}
