package verify

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
)

// AWSRegion is a regular expression for the name of an AWS region, such as us-gov-west-1.
const AWSRegion = `[a-z]{2}(-[a-z]{1,20}){1,3}-[0-9]`

// sns is Amazon's Simple Notification Service.
type sns struct {
	scheme Scheme
	topics []string
	certs  certificates
	set    pointers
}

// snsFields are the fields that are read, snsSigned those that each type of message signs.
var (
	snsFields = []string{
		"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
		"Signature", "SignatureVersion", "SigningCertURL",
	}
	snsSigned = map[string][]string{
		"Notification":             {"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"},
		"SubscriptionConfirmation": {"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"},
		"UnsubscribeConfirmation":  {"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"},
	}
	// A region, not any label: sns.s3.amazonaws.com is a customer's bucket.
	snsCertURL = regexp.MustCompile(`^https://sns\.` + AWSRegion + `\.amazonaws\.com(\.cn)?/[A-Za-z0-9_-]{1,128}\.pem$`)
)

func newSNS(s Scheme, o Options, f *fault.List) checker {
	v := &sns{scheme: s, certs: newCertificates(o.Client)}
	for _, topic := range strings.Split(o.Settings["topic_arns"], ",") {
		if topic = strings.TrimSpace(topic); topic != "" {
			v.topics = append(v.topics, topic)
		}
	}
	if len(v.topics) == 0 {
		f.Add("settings.topic_arns", "missing; anyone can have a topic that Amazon signs for, so yours are wanted, separated by commas")
	}
	if len(o.Secrets)+len(o.Keys) > 0 {
		f.Add("secrets", "not used: Amazon's keys are public and fetched; remove them")
	}
	for _, field := range snsFields {
		v.set.must("/" + field)
	}
	return v
}

func (v *sns) describe() string {
	return "Amazon SNS message signature in the body, from " + strings.Join(v.topics, " or ")
}

func (v *sns) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "aws-sns"}
	raw, err := v.set.findIn(r)
	if err != nil {
		return out, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	field := make(map[string]string, len(raw))
	for i, name := range snsFields {
		if text, ok := claimText(raw[i]); ok {
			field[name] = text
		} else if name == "Subject" && len(raw[i]) > 0 && raw[i][0] != 'n' {
			return out, fmt.Errorf("Subject: %w: a text is wanted", ErrMalformed)
		}
	}
	need := func(name string) error {
		if field[name] == "" {
			return fmt.Errorf("%s: %w", name, ErrMissing)
		}
		return nil
	}
	if err := need("Type"); err != nil {
		return out, err
	}
	signed, ok := snsSigned[field["Type"]]
	if !ok {
		return out, fmt.Errorf("Type: %w: %s", ErrMalformed, Printable(field["Type"]))
	}
	for _, name := range []string{"Signature", "SignatureVersion", "SigningCertURL"} {
		if err := need(name); err != nil {
			return out, err
		}
	}
	var content bytes.Buffer
	for _, name := range signed {
		value, ok := field[name]
		if !ok && name == "Subject" {
			continue
		}
		if !ok || value == "" && name != "Message" && name != "Subject" {
			return out, fmt.Errorf("%s: %w", name, ErrMissing)
		}
		content.WriteString(name + "\n" + value + "\n")
	}
	if name := "X-Amz-Sns-Message-Type"; len(r.Header[name]) > 0 {
		if text, err := headerText(r.Header, name, name); err != nil || text != field["Type"] {
			return out, fmt.Errorf("%s: %w: the body's Type is %s", name, ErrAmbiguous, field["Type"])
		}
	}
	hash, ok := map[string]crypto.Hash{"1": crypto.SHA1, "2": crypto.SHA256}[field["SignatureVersion"]]
	if !ok {
		return out, fmt.Errorf("SignatureVersion %s is not allowed; 1 or 2 is wanted: %w", Printable(field["SignatureVersion"]), ErrMismatch)
	}
	if !snsCertURL.MatchString(field["SigningCertURL"]) {
		return out, fmt.Errorf("SigningCertURL %s is not Amazon's: %w", Printable(field["SigningCertURL"]), ErrMismatch)
	}
	if !slices.Contains(v.topics, field["TopicArn"]) {
		return out, fmt.Errorf("TopicArn %s is not one of settings.topic_arns: %w", Printable(field["TopicArn"]), ErrMismatch)
	}
	sig, ok := decode("base64", field["Signature"])
	if !ok {
		return out, fmt.Errorf("Signature: %w: not base64", ErrMalformed)
	}
	out.KeyID, err = v.certs.checkRSA(ctx, r, field["SigningCertURL"], hash, content.Bytes(), sig, "Signature")
	if err != nil {
		return out, err
	}
	out.Subject = field["TopicArn"]
	return out, judge(v.scheme.Tolerance, field["Timestamp"], "rfc3339", r.ReceivedAt)
}

func (v *sns) covers() (c Coverage) {
	for _, name := range snsSigned["Notification"] {
		c.add("json", "/"+name)
	}
	return c
}

func (v *sns) sign(*gaff.Request, time.Time) error {
	return errors.New("the private key is Amazon's")
}
