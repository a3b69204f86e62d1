package verify

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gaff"
)

// senders are those that data cannot describe, by Scheme.Name.
var senders = map[string]func(Scheme, Options, *faults) checker{
	"standard-webhooks": func(s Scheme, o Options, f *faults) checker {
		if s.HeaderPrefix == "svix-" {
			return families{newStandard(s, o, f)}
		}
		return newStandard(s, o, f)
	},
	"twilio":         newTwilio,
	"adyen":          newAdyen,
	"aws-sns":        newSNS,
	"paypal":         newPayPal,
	"hook0":          newHook0,
	"contentful":     newContentful,
	"dropbox-sign":   newDropboxSign,
	"msgraph":        newGraph,
	"plivo":          newPlivo,
	"travis":         newTravis,
	"paddle-classic": newPaddleClassic,
	"braintree":      newBraintree,
	"lark":           newLark,
}

func newCode(s Scheme, o Options, f *faults) checker {
	if sender, ok := senders[s.Name]; ok {
		return sender(s, o, f)
	}
	names := make([]string, 0, len(senders))
	for name := range senders {
		names = append(names, name)
	}
	slices.Sort(names)
	f.add("name", "%q is not known; one of %s is wanted", s.Name, strings.Join(names, ", "))
	return nil
}

func mustAlgorithm(name string) algorithm {
	a, ok := findAlgorithm(name)
	if !ok {
		panic("verify: no algorithm " + name)
	}
	return a
}

// undated are the senders that send no time.
var undated = map[string]bool{
	"twilio": true, "adyen": true, "dropbox-sign": true, "msgraph": true, "plivo": true, "travis": true,
	"braintree": true, "paddle-classic": true,
}

func noTolerance(s Scheme, f *faults) {
	if s.Tolerance != nil {
		f.add("tolerance", "%s sends no timestamp to judge; remove it", s.Name)
	}
}

// mismatch tells a signature that fits no key from a text that is none.
func mismatch(label, encoding string, sig string) error {
	if _, ok := decode(encoding, sig); !ok {
		return notEncoded(label, encoding, sig)
	}
	return fmt.Errorf("%s: %w: another key, or the signed content was changed on its way", label, ErrMismatch)
}

// judge checks a timestamp against the tolerance, if there is one.
func judge(t *Tolerance, text, unit string, now time.Time) error {
	at, ok := parseTime(text, unit)
	if !ok {
		return fmt.Errorf("timestamp %s: %w", printable(text), ErrMalformed)
	}
	if t == nil {
		return nil
	}
	if unit == "s" {
		now = now.Truncate(time.Second)
	}
	if past, future := t.window(); !fresh(at, now, past, future) {
		return fmt.Errorf("timestamp %s: %w of %s around %s", printable(text), ErrStale, past, now.UTC().Format(time.RFC3339))
	}
	return nil
}

// twilio signs the URL with the form's fields, or with the hash of another body in the
// query.
type twilio struct {
	secrets secretKeys
	url     string
}

const twilioHeader = "X-Twilio-Signature"

func newTwilio(s Scheme, o Options, f *faults) checker {
	noTolerance(s, f)
	return &twilio{newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha1"), f), o.Settings["url"]}
}

func (v *twilio) describe() string {
	return "base64 HMAC-SHA1 of the URL and the form's fields in " + twilioHeader
}

// fields returns what is signed after the URL. A body that nothing covers is refused.
func (v *twilio) fields(r *gaff.Request, address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("request URL: %w", ErrMalformed)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", fmt.Errorf("query: %w", ErrMalformed)
	}
	if hashes := query["bodySHA256"]; len(hashes) > 0 {
		sum := sha256.Sum256(r.Body)
		if len(hashes) > 1 {
			return "", fmt.Errorf("bodySHA256: %w: it came %d times", ErrAmbiguous, len(hashes))
		}
		if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(hashes[0])) != 1 {
			return "", fmt.Errorf("bodySHA256: %w the body", ErrMismatch)
		}
		return "", nil
	}
	if len(r.Body) == 0 {
		return "", nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return "", fmt.Errorf("bodySHA256: %w: nothing covers the body", ErrMissing)
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return "", fmt.Errorf("body: %w: no form", ErrMalformed)
	}
	for name, values := range form {
		slices.Sort(values)
		form[name] = slices.Compact(values)
	}
	return strings.Join(sortedForm(form), ""), nil
}

// variants returns the address as it is, without its port, and with the scheme's own:
// Twilio may have signed either.
func (v *twilio) variants(address string) []string {
	list := []string{address}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return list
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, path := rest[:end], rest[end:]
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return append(list, scheme+"://"+host[:i]+path)
	}
	if port := map[string]string{"https": ":443", "http": ":80"}[scheme]; port != "" {
		list = append(list, scheme+"://"+host+port+path)
	}
	return list
}

func (v *twilio) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "twilio"}
	sig, err := headerText(r.Header, twilioHeader, twilioHeader)
	if err != nil {
		return out, err
	}
	address := v.address(r)
	fields, err := v.fields(r, address)
	if err != nil {
		return out, err
	}
	for _, a := range v.variants(address) {
		id, err := v.secrets.match("base64", []string{sig}, func(_ []byte, w writer) error {
			w.text(a)
			w.text(fields)
			return nil
		})
		if err != nil || id != "" {
			out.KeyID = id
			return out, err
		}
	}
	return out, mismatch(twilioHeader, "base64", sig)
}

func (v *twilio) address(r *gaff.Request) string {
	if v.url != "" {
		return v.url
	}
	return r.URL
}

func (v *twilio) sign(r *gaff.Request, _ time.Time) error {
	address := v.address(r)
	fields, err := v.fields(r, address)
	if err != nil {
		return err
	}
	r.Header.Set(twilioHeader, v.secrets.sign("base64", address+fields))
	return nil
}

// sign returns the signature of a text under the first secret.
func (keys secretKeys) sign(encoding, text string) string {
	m := keys[0].pool.Get().(*macState)
	defer keys[0].pool.Put(m)
	m.h.Reset()
	m.feed(text)
	return string(encode(encoding, nil, m.h.Sum(nil)))
}

// adyen signs each item of a batch inside itself.
type adyen struct {
	secrets secretKeys
	list    pointers
	item    pointers
}

// The signed fields, in their order, then the signature.
var adyenFields = []string{
	"/pspReference", "/originalReference", "/merchantAccountCode", "/merchantReference",
	"/amount/value", "/amount/currency", "/eventCode", "/success", "/additionalData/hmacSignature",
}

func newAdyen(s Scheme, o Options, f *faults) checker {
	noTolerance(s, f)
	v := &adyen{secrets: newSecretKeys(o, KeyFormat{Decode: "hex"}, mustAlgorithm("hmac-sha256"), f)}
	v.list.must("/notificationItems")
	for _, field := range adyenFields {
		v.item.must("/NotificationRequestItem" + field)
	}
	return v
}

// must adds a pointer that is part of the program.
func (p *pointers) must(text string) {
	if _, err := p.add(text); err != nil {
		panic("verify: " + err.Error())
	}
}

func (v *adyen) describe() string {
	return "base64 HMAC-SHA256 of each item's fields in its additionalData.hmacSignature"
}

func (v *adyen) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "adyen"}
	found, err := v.list.find(r.Body)
	if err != nil {
		return out, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	var items []json.RawMessage
	if len(found[0]) == 0 || found[0][0] != '[' || json.Unmarshal(found[0], &items) != nil || len(items) == 0 {
		return out, fmt.Errorf("body: %w: notificationItems is no list with items", ErrMalformed)
	}
	for i, item := range items {
		raw, err := v.item.find(item)
		if err != nil {
			return out, fmt.Errorf("item %d: %w: %w", i, ErrMalformed, err)
		}
		values := make([]string, len(raw))
		for j := range raw {
			values[j], _ = jsonText(raw[j])
		}
		last := len(values) - 1
		label := fmt.Sprintf("item %d: hmacSignature", i)
		sig := values[last]
		if sig == "" {
			return out, fmt.Errorf("%s: %w", label, ErrMissing)
		}
		content := strings.Join(values[:last], ":")
		id, err := v.secrets.match("base64", []string{sig}, func(_ []byte, w writer) error {
			w.text(content)
			return nil
		})
		if err != nil {
			return out, err
		}
		if id == "" {
			return out, mismatch(label, "base64", sig)
		}
		out.KeyID = id
	}
	return out, nil
}

func (v *adyen) sign(r *gaff.Request, _ time.Time) error {
	found, err := v.list.find(r.Body)
	if err != nil {
		return err
	}
	var items []json.RawMessage
	if json.Unmarshal(found[0], &items) != nil || len(items) == 0 {
		// A body of another kind is given an item to sign.
		if r.Body, err = putJSON(r.Body, "/notificationItems", []any{map[string]any{"NotificationRequestItem": map[string]any{
			"pspReference": strings.ToUpper(rand.Text()[:16]), "eventCode": "AUTHORISATION", "success": "true",
			"merchantAccountCode": "TestMerchant", "merchantReference": "test", "amount": map[string]any{"value": 1000, "currency": "EUR"},
		}}}); err != nil {
			return err
		}
		return v.sign(r, time.Time{})
	}
	for i, item := range items {
		raw, err := v.item.find(item)
		if err != nil {
			return err
		}
		values := make([]string, len(raw)-1)
		for j := range values {
			values[j], _ = jsonText(raw[j])
		}
		sig := v.secrets.sign("base64", strings.Join(values, ":"))
		pointer := fmt.Sprintf("/notificationItems/%d/NotificationRequestItem/additionalData/hmacSignature", i)
		if r.Body, err = putJSON(r.Body, pointer, sig); err != nil {
			return err
		}
	}
	return nil
}

// certificates fetches and keeps signing certificates. Their addresses come with the
// request, so each sender pins its own pattern first.
type certificates struct {
	client *http.Client
	now    func() time.Time

	mu     sync.Mutex
	kept   map[string]*certificate
	window time.Time // when the count of fetches began
	count  int
}

// certificate is one that is kept, or being fetched. The fields after done may be read
// once it is closed.
type certificate struct {
	done chan struct{}
	cert *x509.Certificate
	err  error
	due  time.Time // when to fetch it again
}

const (
	maxCertificates = 64               // kept
	certMaxAge      = 24 * time.Hour   // then it is fetched again
	certBackoff     = 30 * time.Second // after a failure
	certPerMinute   = 20               // fetches that strangers can cause
	certMaxBytes    = 64 << 10
)

func newCertificates(client *http.Client) *certificates {
	return &certificates{client: client, now: time.Now, kept: map[string]*certificate{}}
}

func (c *certificates) get(ctx context.Context, address string) (*x509.Certificate, error) {
	c.mu.Lock()
	entry := c.kept[address]
	var old *x509.Certificate
	if entry != nil {
		select {
		case <-entry.done:
			if !c.now().Before(entry.due) {
				entry, old = nil, entry.cert
			}
		default:
		}
	}
	if entry == nil {
		if !c.mayFetch() {
			c.mu.Unlock()
			return nil, fmt.Errorf("certificate at %s: %w: too many different ones were asked for", address, gaff.ErrUnverifiable)
		}
		entry = &certificate{done: make(chan struct{})}
		c.kept[address] = entry
		go c.fetch(context.WithoutCancel(ctx), address, entry, old)
	}
	c.mu.Unlock()
	select {
	case <-entry.done:
		return entry.cert, entry.err
	case <-ctx.Done():
		return nil, fmt.Errorf("certificate at %s: %w: %w", address, gaff.ErrUnverifiable, ctx.Err())
	}
}

// mayFetch counts a fetch and makes room for it.
func (c *certificates) mayFetch() bool {
	now := c.now()
	if now.Sub(c.window) >= time.Minute {
		c.window, c.count = now, 0
	}
	if c.count++; c.count > certPerMinute {
		return false
	}
	if len(c.kept) >= maxCertificates {
		for address, e := range c.kept { // any one that is not under way
			select {
			case <-e.done:
				delete(c.kept, address)
				return true
			default:
			}
		}
		return false
	}
	return true
}

// fetch fills the entry. An old certificate stays in use while its host is unreachable:
// what it says about its own dates is checked at each use.
func (c *certificates) fetch(ctx context.Context, address string, entry *certificate, old *x509.Certificate) {
	defer close(entry.done)
	doc, err := fetch(ctx, c.client, address, certMaxBytes)
	if err == nil {
		entry.cert, err = parseCertificate(doc)
	}
	if err == nil {
		entry.due = c.now().Add(certMaxAge)
		return
	}
	entry.due = c.now().Add(certBackoff)
	if entry.cert = old; old == nil {
		entry.err = fmt.Errorf("certificate at %s: %w: %w", address, gaff.ErrUnverifiable, err)
	}
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
func (c *certificates) checkRSA(ctx context.Context, address string, h crypto.Hash, content, sig []byte, label string, now time.Time) (string, error) {
	cert, err := c.get(ctx, address)
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

// sns is Amazon's Simple Notification Service.
type sns struct {
	scheme Scheme
	topics []string
	certs  *certificates
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
	snsCertURL = regexp.MustCompile(`^https://sns\.[a-z0-9-]{1,40}\.amazonaws\.com(\.cn)?/[A-Za-z0-9_-]{1,128}\.pem$`)
)

func newSNS(s Scheme, o Options, f *faults) checker {
	v := &sns{scheme: s, certs: newCertificates(o.Client)}
	for _, topic := range strings.Split(o.Settings["topic_arns"], ",") {
		if topic = strings.TrimSpace(topic); topic != "" {
			v.topics = append(v.topics, topic)
		}
	}
	if len(v.topics) == 0 {
		f.add("settings.topic_arns", "missing; anyone can have a topic that Amazon signs for, so yours are wanted, separated by commas")
	}
	if len(o.Secrets)+len(o.Keys) > 0 {
		f.add("secrets", "not used: Amazon's keys are public and fetched; remove them")
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
	raw, err := v.set.find(r.Body)
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
		return out, fmt.Errorf("Type: %w: %s", ErrMalformed, printable(field["Type"]))
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
		return out, fmt.Errorf("SignatureVersion %s is not allowed; 1 or 2 is wanted: %w", printable(field["SignatureVersion"]), ErrMismatch)
	}
	if !snsCertURL.MatchString(field["SigningCertURL"]) {
		return out, fmt.Errorf("SigningCertURL %s is not Amazon's: %w", printable(field["SigningCertURL"]), ErrMismatch)
	}
	if !slices.Contains(v.topics, field["TopicArn"]) {
		return out, fmt.Errorf("TopicArn %s is not one of settings.topic_arns: %w", printable(field["TopicArn"]), ErrMismatch)
	}
	sig, ok := decode("base64", field["Signature"])
	if !ok {
		return out, fmt.Errorf("Signature: %w: not base64", ErrMalformed)
	}
	out.KeyID, err = v.certs.checkRSA(ctx, field["SigningCertURL"], hash, content.Bytes(), sig, "Signature", r.ReceivedAt)
	if err != nil {
		return out, err
	}
	out.Subject = field["TopicArn"]
	return out, judge(v.scheme.Tolerance, field["Timestamp"], "rfc3339", r.ReceivedAt)
}

func (v *sns) sign(*gaff.Request, time.Time) error {
	return errors.New("the private key is Amazon's")
}

// paypal signs a checksum of the body with a certificate of its own.
type paypal struct {
	scheme  Scheme
	webhook string
	certs   *certificates
}

var paypalCertURL = regexp.MustCompile(`^https://api(-m)?\.(sandbox\.)?paypal\.com/[A-Za-z0-9/_-]{1,128}(\.[a-z]{1,8})?$`)

func newPayPal(s Scheme, o Options, f *faults) checker {
	v := &paypal{scheme: s, webhook: o.Settings["webhook_id"], certs: newCertificates(o.Client)}
	if v.webhook == "" {
		f.add("settings.webhook_id", "missing; the webhook's id at PayPal is part of the signed content")
	}
	if len(o.Secrets)+len(o.Keys) > 0 {
		f.add("secrets", "not used: PayPal's keys are public and fetched; remove them")
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
		return out, fmt.Errorf("Paypal-Auth-Algo %s is not allowed; SHA256withRSA is wanted: %w", printable(algo), ErrMismatch)
	}
	if !paypalCertURL.MatchString(address) {
		return out, fmt.Errorf("Paypal-Cert-Url %s is not PayPal's: %w", printable(address), ErrMismatch)
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
	out.KeyID, err = v.certs.checkRSA(ctx, address, crypto.SHA256, []byte(content), sig, "Paypal-Transmission-Sig", r.ReceivedAt)
	if err != nil {
		return out, err
	}
	return out, judge(v.scheme.Tolerance, at, "rfc3339", r.ReceivedAt)
}

func (v *paypal) sign(*gaff.Request, time.Time) error {
	return errors.New("the private key is PayPal's")
}

// hook0 signs the values of headers that the signature itself names.
type hook0 struct {
	scheme  Scheme
	secrets secretKeys
}

const hook0Header = "X-Hook0-Signature"

func newHook0(s Scheme, o Options, f *faults) checker {
	return &hook0{s, newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f)}
}

func (v *hook0) describe() string {
	return "hex HMAC-SHA256 of the time, the named headers and the body in " + hook0Header
}

func (v *hook0) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "hook0"}
	text, err := headerText(r.Header, hook0Header, hook0Header)
	if err != nil {
		return out, err
	}
	field := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
		if old, twice := field[key]; ok && twice && old != value {
			return out, fmt.Errorf("%s: %w: two different %s", hook0Header, ErrAmbiguous, printable(key))
		}
		field[key] = value
	}
	if field["t"] == "" {
		return out, fmt.Errorf("%s: %w: no t", hook0Header, ErrMissing)
	}
	if _, ok := parseTime(field["t"], "s"); !ok {
		return out, fmt.Errorf("timestamp %s: %w", printable(field["t"]), ErrMalformed)
	}
	// v1 covers more than v0: where it is there, v0 counts for nothing.
	sig, v1 := field["v1"]
	content := field["t"] + "."
	if v1 {
		names := field["h"]
		values := []string{}
		for name := range strings.FieldsSeq(names) {
			value, err := headerText(r.Header, http.CanonicalHeaderKey(name), name)
			if err != nil {
				return out, err
			}
			values = append(values, value)
		}
		content += names + "." + strings.Join(values, ".") + "."
	} else {
		sig = field["v0"]
	}
	if sig == "" {
		return out, fmt.Errorf("%s: %w: no signature under v1 or v0", hook0Header, ErrMissing)
	}
	out.KeyID, err = v.secrets.match("hex", []string{sig}, func(_ []byte, w writer) error {
		w.text(content)
		w.bytes(r.Body)
		return nil
	})
	if err != nil {
		return out, err
	}
	if out.KeyID == "" {
		return out, mismatch(hook0Header, "hex", sig)
	}
	return out, judge(v.scheme.Tolerance, field["t"], "s", r.ReceivedAt)
}

func (v *hook0) sign(r *gaff.Request, at time.Time) error {
	t := formatTime(at, "s")
	names, values := "", ""
	if kind := r.Header.Get("Content-Type"); kind != "" {
		names, values = "content-type", kind
	}
	content := t + "." + names + "." + values + "." + string(r.Body)
	r.Header.Set(hook0Header, "t="+t+",h="+names+",v1="+v.secrets.sign("hex", content))
	return nil
}

// contentful signs a canonical form of the request.
type contentful struct {
	scheme  Scheme
	secrets secretKeys
}

func newContentful(s Scheme, o Options, f *faults) checker {
	return &contentful{s, newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f)}
}

func (v *contentful) describe() string {
	return "hex HMAC-SHA256 of method, path, signed headers and body in X-Contentful-Signature"
}

const (
	contentfulTime   = "X-Contentful-Timestamp"
	contentfulSigned = "X-Contentful-Signed-Headers"
	contentfulSig    = "X-Contentful-Signature"
)

// paths returns what may be signed as the path: as it is, and as the sender's own library
// writes it, which escapes what is escaped already.
func (v *contentful) paths(r *gaff.Request) ([]string, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, fmt.Errorf("request URL: %w", ErrMalformed)
	}
	path := u.EscapedPath()
	own := escapeJS(path, ";,/?:@&=+$#")
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
		own += "?" + escapeJS(escapeJS(u.RawQuery, ""), ";,/?:@&=+$#")
	}
	if own == path {
		return []string{path}, nil
	}
	return []string{own, path}, nil
}

// escapeJS escapes as JavaScript does: all but letters, digits, some marks and more.
func escapeJS(text, more string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.!~*'()"+more, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (v *contentful) content(r *gaff.Request, path, names string) (string, error) {
	list := strings.Split(strings.ToLower(names), ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	if !slices.Contains(list, strings.ToLower(contentfulTime)) {
		return "", fmt.Errorf("%s: %w: the timestamp is not among the signed headers", contentfulSigned, ErrMissing)
	}
	slices.Sort(list)
	for i, name := range list {
		value, err := names, error(nil)
		if name != strings.ToLower(contentfulSigned) {
			if value, err = headerText(r.Header, http.CanonicalHeaderKey(name), name); err != nil {
				return "", err
			}
		}
		list[i] = name + ":" + strings.TrimSpace(value)
	}
	return r.Method + "\n" + path + "\n" + strings.Join(list, ";") + "\n", nil
}

func (v *contentful) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "contentful"}
	sig, err := headerText(r.Header, contentfulSig, contentfulSig)
	if err != nil {
		return out, err
	}
	names, err := headerText(r.Header, contentfulSigned, contentfulSigned)
	if err != nil {
		return out, err
	}
	at, err := headerText(r.Header, contentfulTime, contentfulTime)
	if err != nil {
		return out, err
	}
	if _, ok := parseTime(at, "ms"); !ok {
		return out, fmt.Errorf("timestamp %s: %w", printable(at), ErrMalformed)
	}
	paths, err := v.paths(r)
	if err != nil {
		return out, err
	}
	for _, path := range paths {
		content, err := v.content(r, path, names)
		if err != nil {
			return out, err
		}
		out.KeyID, err = v.secrets.match("hex", []string{sig}, func(_ []byte, w writer) error {
			w.text(content)
			w.bytes(r.Body)
			return nil
		})
		if err != nil {
			return out, err
		}
		if out.KeyID != "" {
			break
		}
	}
	if out.KeyID == "" {
		return out, mismatch(contentfulSig, "hex", sig)
	}
	return out, judge(v.scheme.Tolerance, at, "ms", r.ReceivedAt)
}

func (v *contentful) sign(r *gaff.Request, at time.Time) error {
	r.Header.Set(contentfulTime, formatTime(at, "ms"))
	names := strings.ToLower(contentfulSigned) + "," + strings.ToLower(contentfulTime)
	r.Header.Set(contentfulSigned, names)
	paths, err := v.paths(r)
	if err != nil {
		return err
	}
	content, err := v.content(r, paths[0], names)
	if err != nil {
		return err
	}
	r.Header.Set(contentfulSig, v.secrets.sign("hex", content+string(r.Body)))
	return nil
}

// dropboxSign signs time and type of the event inside a form's JSON field.
type dropboxSign struct {
	secrets secretKeys
	set     pointers
}

func newDropboxSign(s Scheme, o Options, f *faults) checker {
	noTolerance(s, f)
	v := &dropboxSign{secrets: newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f)}
	for _, name := range []string{"event_time", "event_type", "event_hash"} {
		v.set.must("/event/" + name)
	}
	return v
}

func (v *dropboxSign) describe() string {
	return "hex HMAC-SHA256 of the event's time and type in the JSON of the form field json (the rest is not covered)"
}

func (v *dropboxSign) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "dropbox-sign"}
	doc, err := formField(r, "json")
	if err != nil {
		return out, err
	}
	raw, err := v.set.find(doc)
	if err != nil {
		return out, fmt.Errorf("form field json: %w: %w", ErrMalformed, err)
	}
	at, _ := jsonText(raw[0])
	out.Type, _ = jsonText(raw[1])
	sig, _ := jsonText(raw[2])
	if at == "" || out.Type == "" || sig == "" {
		return out, fmt.Errorf("event_time, event_type or event_hash: %w", ErrMissing)
	}
	if _, ok := parseTime(at, "s"); !ok { // nothing separates it from the type
		return out, fmt.Errorf("event_time %s: %w", printable(at), ErrMalformed)
	}
	out.KeyID, err = v.secrets.match("hex", []string{sig}, func(_ []byte, w writer) error {
		w.text(at)
		w.text(out.Type)
		return nil
	})
	if err == nil && out.KeyID == "" {
		err = mismatch("event_hash", "hex", sig)
	}
	return out, err
}

// formField returns a field of a form of either kind. One that came twice is ambiguous.
func formField(r *gaff.Request, name string) ([]byte, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("Content-Type: %w", ErrMalformed)
	}
	if kind == "application/x-www-form-urlencoded" {
		fields, err := url.ParseQuery(string(r.Body))
		if err != nil {
			return nil, fmt.Errorf("body: %w: no form", ErrMalformed)
		}
		text, err := oneOf(fields[name])
		if err != nil {
			return nil, fmt.Errorf("form field %s: %w", name, err)
		}
		return []byte(text), nil
	}
	if kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, fmt.Errorf("Content-Type: %w: a form is wanted", ErrMalformed)
	}
	var found []byte
	parts := multipart.NewReader(bytes.NewReader(r.Body), params["boundary"])
	for n := 0; n < 100; n++ {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("body: %w: no form", ErrMalformed)
		}
		if part.FormName() != name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("form field %s: %w: it came twice", name, ErrAmbiguous)
		}
		if found, err = io.ReadAll(part); err != nil {
			return nil, fmt.Errorf("body: %w: no form", ErrMalformed)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("form field %s: %w", name, ErrMissing)
	}
	return found, nil
}

func (v *dropboxSign) sign(r *gaff.Request, at time.Time) error {
	doc := r.Body
	if text, err := formField(r, "json"); err == nil {
		doc = text
	}
	raw, err := v.set.find(doc)
	if err != nil {
		return err
	}
	eventType, _ := jsonText(raw[1])
	eventType = cmp.Or(eventType, "callback_test")
	t := formatTime(at, "s")
	for pointer, text := range map[string]string{
		"/event/event_time": t, "/event/event_type": eventType, "/event/event_hash": v.secrets.sign("hex", t+eventType),
	} {
		if doc, err = putJSON(doc, pointer, text); err != nil {
			return err
		}
	}
	r.Body = []byte(url.Values{"json": {string(doc)}}.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return nil
}

// graph is Microsoft Graph: each notification of a batch holds the shared text.
type graph struct {
	states token // compared by its digests
	list   pointers
	item   pointers
}

func newGraph(s Scheme, o Options, f *faults) checker {
	noTolerance(s, f)
	s.Token = &Token{Location: Location{In: "json", Pointer: "/clientState"}}
	v := &graph{states: *newToken(s, o, f)}
	v.list.must("/value")
	v.item.must("/clientState")
	return v
}

func (v *graph) describe() string { return "a shared text in clientState of each notification" }

func (v *graph) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "msgraph"}
	found, err := v.list.find(r.Body)
	if err != nil {
		return out, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	var items []json.RawMessage
	if len(found[0]) == 0 || found[0][0] != '[' || json.Unmarshal(found[0], &items) != nil || len(items) == 0 {
		return out, fmt.Errorf("body: %w: value is no list with notifications", ErrMalformed)
	}
	for i, item := range items {
		raw, err := v.item.find(item)
		if err != nil {
			return out, fmt.Errorf("notification %d: %w: %w", i, ErrMalformed, err)
		}
		text, ok := claimText(raw[0])
		if !ok || text == "" {
			return out, fmt.Errorf("notification %d: clientState: %w", i, ErrMissing)
		}
		if out.KeyID = v.states.match(text); out.KeyID == "" {
			return out, fmt.Errorf("notification %d: clientState: %w", i, ErrMismatch)
		}
	}
	return out, nil
}

func (v *graph) sign(r *gaff.Request, _ time.Time) error {
	found, err := v.list.find(r.Body)
	if err != nil {
		return err
	}
	var items []json.RawMessage
	if json.Unmarshal(found[0], &items) != nil || len(items) == 0 {
		items = []json.RawMessage{nil}
		if r.Body, err = putJSON(r.Body, "/value", []any{map[string]any{"id": strings.ToLower(rand.Text()), "changeType": "updated"}}); err != nil {
			return err
		}
	}
	for i := range items {
		if r.Body, err = putJSON(r.Body, fmt.Sprintf("/value/%d/clientState", i), v.states.plain[0]); err != nil {
			return err
		}
	}
	return nil
}
