package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff/internal/fault"

	"gaff"
)

// certificates are signing certificates by the addresses that requests tell. What one says
// about its own dates is checked at each use.
type certificates struct{ *remote[*x509.Certificate] }

func newCertificates(client *http.Client) certificates {
	return certificates{newRemote("certificate at", func(ctx context.Context, address string) (*x509.Certificate, error) {
		doc, err := fetch(ctx, client, address, remoteMaxBytes)
		if err != nil {
			return nil, err
		}
		return parseCertificate(doc)
	})}
}

func parseCertificate(doc []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(doc)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if _, ok := cert.PublicKey.(*rsa.PublicKey); !ok {
		return nil, errors.New("its key is not RSA")
	}
	if err := checkKey(cert.PublicKey); err != nil {
		return nil, err
	}
	return cert, nil
}

// checkRSA verifies a signature with the certificate at an address that was found to be
// the sender's. The address is fetched over TLS from a pinned host: that is what the
// certificate is trusted for.
func (c certificates) checkRSA(ctx context.Context, r *gaff.Request, address string, h crypto.Hash, content, sig []byte, label string) (string, error) {
	now := r.ReceivedAt
	cert, err := c.get(ctx, address, r.RemoteAddr)
	if err != nil {
		return "", err
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return "", fmt.Errorf("certificate at %s: %w: valid from %s to %s", address, ErrMismatch,
			cert.NotBefore.UTC().Format(time.RFC3339), cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), h, digest(h, content), sig) != nil {
		return "", fmt.Errorf("%s: %w: the signed content was changed, or the sender is another", label, ErrMismatch)
	}
	return fingerprint(cert.RawSubjectPublicKeyInfo), nil
}

// AWSRegion is the form of the name of a region of Amazon's, such as us-gov-west-1.
const AWSRegion = `[a-z]{2}(-[a-z]{1,20}){1,3}-[0-9]`

// sns is Amazon's Simple Notification Service.
type sns struct {
	scheme Scheme
	topics []string
	certs  certificates
	set    pointers
}

// The fields that are read, and which of them each type of message signs.
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
	// A region, never another first part: sns.s3.amazonaws.com is somebody's bucket.
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
	raw, err := v.set.find(r.Text())
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

// paypal signs a checksum of the body with a certificate of its own.
type paypal struct {
	scheme  Scheme
	webhook string
	certs   certificates
}

var paypalCertURL = regexp.MustCompile(`^https://api(-m)?\.(sandbox\.)?paypal\.com/v1/notifications/certs/CERT-[A-Za-z0-9-]{1,64}(\.pem)?$`)

func newPayPal(s Scheme, o Options, f *fault.List) checker {
	v := &paypal{scheme: s, webhook: o.Settings["webhook_id"], certs: newCertificates(o.Client)}
	if v.webhook == "" {
		f.Add("settings.webhook_id", "missing; the webhook's id at PayPal is part of the signed content")
	}
	if len(o.Secrets)+len(o.Keys) > 0 {
		f.Add("secrets", "not used: PayPal's keys are public and fetched; remove them")
	}
	return v
}

func (v *paypal) describe() string {
	return "base64 RSA-SHA256 signature of id, time, webhook id and the body's CRC-32 in Paypal-Transmission-Sig"
}

func (v *paypal) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "paypal"}
	var text [5]string
	for i, name := range []string{"Transmission-Id", "Transmission-Time", "Transmission-Sig", "Cert-Url", "Auth-Algo"} {
		var err error
		if text[i], err = headerText(r.Header, "Paypal-"+name, "Paypal-"+name); err != nil {
			return out, err
		}
	}
	id, at, sigText, address, algo := text[0], text[1], text[2], text[3], text[4]
	if algo != "SHA256withRSA" {
		return out, fmt.Errorf("Paypal-Auth-Algo %s is not allowed; SHA256withRSA is wanted: %w", Printable(algo), ErrMismatch)
	}
	if !paypalCertURL.MatchString(address) {
		return out, fmt.Errorf("Paypal-Cert-Url %s is not PayPal's: %w", Printable(address), ErrMismatch)
	}
	sig, ok := decode("base64", sigText)
	if !ok {
		return out, fmt.Errorf("Paypal-Transmission-Sig: %w: not base64", ErrMalformed)
	}
	if strings.Contains(id, "|") {
		return out, fmt.Errorf("Paypal-Transmission-Id: %w: it holds the separator", ErrAmbiguous)
	}
	content := id + "|" + at + "|" + v.webhook + "|" + strconv.FormatUint(uint64(crc32.ChecksumIEEE(r.Body)), 10)
	var err error
	out.KeyID, err = v.certs.checkRSA(ctx, r, address, crypto.SHA256, []byte(content), sig, "Paypal-Transmission-Sig")
	if err != nil {
		return out, err
	}
	out.Signed = signedHash([]byte(content))
	return out, judge(v.scheme.Tolerance, at, "rfc3339", r.ReceivedAt)
}

// covers is the transmission's id. Of the body a CRC-32 is signed, for which other bodies can
// be made.
func (v *paypal) covers() (c Coverage) {
	c.add("header", "Paypal-Transmission-Id")
	return c
}

func (v *paypal) sign(*gaff.Request, time.Time) error {
	return errors.New("the private key is PayPal's")
}
