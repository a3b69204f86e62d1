//go:build !slim

package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"gaff/destination"
	"gaff/internal/safehttp"
)

// sqsPublisher sends to a queue. It makes the one call that is needed by itself, signed by
// AWS's own library: the client for SQS is forty times the size. Queues whose names end in
// .fifo keep the order of a key and leave out what they have already.
type sqsPublisher struct {
	queue, endpoint, region string
	keys                    aws.Credentials
	signer                  *v4.Signer
	client                  *http.Client
	fifo                    bool
}

func newSQS(u *url.URL, queue string, allow []netip.Prefix) (Publisher, error) {
	q, err := parameters(u, "endpoint", "token")
	if err != nil {
		return nil, err
	}
	secret, _ := u.User.Password()
	switch at, err := url.Parse(queue); {
	case u.Host == "" || u.User.Username() == "" || secret == "":
		return nil, errors.New("url: write sqs://KEY_ID:SECRET@region, the secret with / and + as %2F and %2B; kept in a variable: env:NAME")
	case err != nil || at.Scheme != "https" && at.Scheme != "http" || at.Host == "":
		return nil, errors.New("topic: must be the queue's URL, such as https://sqs.eu-central-1.amazonaws.com/123456789012/events")
	}
	p := &sqsPublisher{
		queue: queue, region: u.Host, endpoint: q.Get("endpoint"), signer: v4.NewSigner(), fifo: strings.HasSuffix(queue, ".fifo"),
		keys:   aws.Credentials{AccessKeyID: u.User.Username(), SecretAccessKey: secret, SessionToken: q.Get("token")},
		client: safehttp.New(safehttp.Options{Allow: allow, UserAgent: "gaff"}),
	}
	if p.endpoint == "" {
		p.endpoint = "https://sqs." + p.region + ".amazonaws.com/"
	}
	return p, nil
}

// maxAttributes is how many attributes SQS takes with a message.
const maxAttributes = 10

type sqsAttribute struct {
	DataType, StringValue string
}

func (p *sqsPublisher) Publish(ctx context.Context, m destination.Message) error {
	body := map[string]any{"QueueUrl": p.queue, "MessageBody": string(m.Payload)}
	attributes := map[string]sqsAttribute{"gaff-delivery-id": {"String", m.ID}}
	for _, name := range []string{"Content-Type", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		if value := m.Header[name]; value != "" {
			attributes[name] = sqsAttribute{"String", value}
		}
	}
	for name, value := range m.Header {
		if len(attributes) < maxAttributes && value != "" {
			attributes[name] = sqsAttribute{"String", value}
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
	_ = json.Unmarshal(answer, &said) // what is no JSON says nothing
	if res.StatusCode != http.StatusOK || said.MessageID == "" {
		_, kind, found := strings.Cut(said.Type, "#")
		if !found {
			kind = said.Type
		}
		return fmt.Errorf("answered %d %.80s: %.200s", res.StatusCode, kind, said.Message)
	}
	return nil
}

// groupOf is a key as SQS takes one: at most 128 of the printable ASCII signs.
func groupOf(key string) string {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' || i >= 128 {
			sum := sha256.Sum256([]byte(key))
			return hex.EncodeToString(sum[:])
		}
	}
	return key
}

func (p *sqsPublisher) Close() error {
	p.client.CloseIdleConnections()
	return nil
}
