package sender

import (
	"bytes"
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
	"gaff/verify"
)

// HandshakeOptions is what handshakes need besides the description. The zero value is enough for
// those without secrets and settings.
type HandshakeOptions struct {
	// Secrets, Settings and Client are as in [verify.Options].
	Secrets  []string
	Settings map[string]string
	Client   *http.Client
	// Keep stores a key that the sender issued. kept is false if the source has a key already, or
	// accepts none now. Nil: no key is stored.
	Keep func(ctx context.Context, key string) (kept bool, err error)
}

// Handshaker answers the challenges of a sender. It is a [gaff.Handshaker].
type Handshaker struct {
	o       HandshakeOptions
	list    []challenge
	methods []string
	reader  verify.Reader
	// open decrypts a body; its result is empty if the body is not encrypted. Nil: the sender does
	// not encrypt.
	open func(body []byte) string
}

// challenge is a [Challenge] ready for use.
type challenge struct {
	Challenge
	match   []matching
	pattern *regexp.Regexp
	hosts   []*regexp.Regexp
	hmac    *verify.HMAC // nil without secrets
	// Numbers of places in the handshaker's reader.
	guard, value, capture, fetch int
	// settings are the names of those in the answer.
	settings []string
}

var configToken = regexp.MustCompile(`\{config:([^}]*)\}`)

type matching struct {
	Match
	at      int
	pattern *regexp.Regexp
}

const (
	maxChallengeValue = 4096
	maxConfirmation   = 64 << 10 // bytes of the answer that are read
	fetchPatience     = 8 * time.Second
)

// NewHandshaker returns the handshaker for the challenges of a description; nil if it has no
// challenges. Its error is a [fault.List].
func NewHandshaker(d Description, o HandshakeOptions) (*Handshaker, error) {
	if len(d.Challenge) == 0 {
		return nil, nil
	}
	if o.Client == nil {
		o.Client = verify.DefaultClient()
	}
	var f fault.List
	h := &Handshaker{o: o}
	if d.Name == "lark" { // Lark encrypts its challenge and does not sign it
		h.open = verify.OpenLark(o.Secrets)
	}
	for i, c := range d.Challenge {
		path := fmt.Sprintf("challenge[%d]", i)
		if len(d.Challenge) == 1 {
			path = "challenge"
		}
		ready := challenge{
			Challenge: c,
			value:     h.reader.Add(c.Value, path+".value", &f),
			capture:   h.reader.Add(c.Capture, path+".capture", &f),
		}
		ready.check(&d.Scheme, h, path, &f)
		if ready.Method != http.MethodPost && !slices.Contains(h.methods, ready.Method) {
			h.methods = append(h.methods, ready.Method)
		}
		h.list = append(h.list, ready)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return h, nil
}

func (c *challenge) check(s *verify.Scheme, h *Handshaker, path string, f *fault.List) {
	switch c.Method {
	case "":
		c.Method = http.MethodPost
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost:
	default:
		f.OneOf(path+".method", c.Method, "GET, HEAD, OPTIONS, POST")
	}
	if c.Method == http.MethodPost && len(c.Match) == 0 {
		f.Add(path+".match", "missing; a POST without it would answer every webhook")
	}
	for i, m := range c.Match {
		at := fmt.Sprintf("%s.match[%d]", path, i)
		ready := matching{m, h.reader.Add(&m.Location, at, f), wholeText(m.Pattern, at+".pattern", f)}
		if m.Absent && m.Value+m.Pattern != "" {
			f.Add(at+".absent", "goes with neither value nor pattern")
		}
		c.match = append(c.match, ready)
	}
	if c.Guard != nil {
		c.guard = h.reader.Add(&c.Guard.Location, path+".guard", f)
		if s := c.Guard.Status; s != 0 && (s < 400 || s > 499) {
			f.Add(path+".guard.status", "%d; a status from 400 to 499 is wanted", s)
		}
		if c.Guard.Setting == "" {
			f.Add(path+".guard.setting", "missing; the name of the setting with the expected text is wanted")
		}
	}
	c.settings = c.Answer.settings()
	texts := c.Answer.texts()
	uses := func(token string) bool {
		return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(t, token) })
	}
	if c.Value == nil && (uses("{value}") || uses("{hmac}") || c.HMAC != nil) {
		f.Add(path+".value", "missing; the answer is made of it")
	}
	if strings.Contains(c.Answer.Body, "{value}") || strings.Contains(c.Answer.Body, "{hmac}") {
		f.Add(path+".answer.body", "is sent as it is written; write the members under json, or a text under text")
	}
	c.pattern = wholeText(c.Pattern, path+".pattern", f)
	if c.HMAC == nil && uses("{hmac}") {
		f.Add(path+".hmac", "missing; the answer is made of it")
	}
	if c.Answer.Status != 0 && (c.Answer.Status < 200 || c.Answer.Status > 299) {
		f.Add(path+".answer.status", "%d; a status from 200 to 299 is wanted", c.Answer.Status)
	}
	for name, value := range c.Answer.Headers {
		if !verify.IsHeaderName(name) {
			f.Add(path+".answer.headers", "%q is not a header name", name)
		}
		if strings.ContainsAny(value, "\r\n") {
			f.Add(path+".answer.headers", "%s holds a line break", name)
		}
	}
	if c.HMAC != nil {
		c.checkHMAC(s, h.o.Secrets, path, f)
	}
	if c.Fetch != nil {
		c.fetch = h.reader.Add(&c.Fetch.Location, path+".fetch", f)
		if len(c.Fetch.Hosts) == 0 {
			f.Add(path+".fetch.hosts", "missing; the sender's hosts are wanted, such as [hooks.example.com]")
		}
		for _, host := range c.Fetch.Hosts {
			c.hosts = append(c.hosts, hostPattern(host))
		}
	}
}

// checkHMAC checks an answer that is an HMAC, which must not be a valid signature of a webhook.
func (c *challenge) checkHMAC(s *verify.Scheme, secrets []string, path string, f *fault.List) {
	if !verify.IsHMAC(c.HMAC.Algorithm) {
		f.OneOf(path+".hmac.algorithm", c.HMAC.Algorithm, "hmac-sha1, hmac-sha256, hmac-sha512")
	} else if len(secrets) > 0 {
		c.hmac = verify.NewHMAC(c.HMAC.Algorithm, s.Key, secrets, f)
	}
	if !slices.Contains([]string{"hex", "hex-upper", "base64", "base64url"}, c.HMAC.Encoding) {
		f.OneOf(path+".hmac.encoding", c.HMAC.Encoding, "hex, hex-upper, base64, base64url")
	}
	if c.Method == http.MethodPost && !c.Signed {
		f.Add(path+".signed", "an HMAC for anyone who asks is a signature for anyone: only of signed calls, or of a GET")
	}
	if !c.Signed && c.Pattern == "" {
		f.Add(path+".pattern", "missing; anyone may ask for the HMAC of a value, so its form must be one that no webhook's body has, such as [A-Za-z0-9_-]+")
	}
	if !c.Signed && s.Kind == "signature" && s.Content != "" {
		f.Add(path+".hmac", "does not go with content: %s: a value of any form could be a webhook's body; only bodies of JSON can be distinguished from it", s.Content)
	}
}

// hostPattern returns the pattern of an entry of [Fetch.Hosts].
func hostPattern(host string) *regexp.Regexp {
	parts := strings.NewReplacer(`\*`, `[a-z0-9-]+`, `\{aws_region\}`, verify.AWSRegion)
	return regexp.MustCompile("^" + parts.Replace(regexp.QuoteMeta(host)) + "$")
}

func (a *Answer) texts() []string {
	texts := []string{a.Text, a.Body}
	texts = slices.AppendSeq(texts, maps.Values(a.JSON))
	return slices.AppendSeq(texts, maps.Values(a.Headers))
}

// settings lists the operator's settings that the answer contains.
func (a *Answer) settings() (names []string) {
	for _, text := range a.texts() {
		for _, m := range configToken.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// wholeText compiles a pattern that a whole text must match; nil for an empty pattern.
func wholeText(pattern, path string, f *fault.List) *regexp.Regexp {
	if pattern == "" {
		return nil
	}
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		f.Add(path, "%v", err)
	}
	return re
}

// Methods lists the methods, besides POST, that the sender uses.
func (h *Handshaker) Methods() []string { return h.methods }

// Handshake answers r if it is one of the challenges. See [gaff.Handshaker].
func (h *Handshaker) Handshake(ctx context.Context, r *gaff.Request, v gaff.Verification, refusal error) (gaff.Reply, bool) {
	if v.Content == "" && h.open != nil {
		v.Content = h.open(r.Text())
	}
	if v.Content != "" {
		plain := *r
		plain.Body = []byte(v.Content)
		r = &plain
	}
	// Without a JSON body the values are empty, and conditions on them do not hold.
	reading := h.reader.Read(r, nil)
	for i := range h.list {
		c := &h.list[i]
		if c.Method != r.Method || !c.matches(reading) {
			continue
		}
		if c.Signed && refusal != nil {
			return gaff.Reply{}, false
		}
		return h.answer(ctx, c, reading)
	}
	return gaff.Reply{}, false
}

func (c *challenge) matches(reading verify.Reading) bool {
	for _, m := range c.match {
		if m.Absent {
			if reading.Holds(m.at) {
				return false
			}
			continue
		}
		text, err := reading.Text(m.at)
		if err != nil || m.Value != "" && text != m.Value || m.pattern != nil && !m.pattern.MatchString(text) {
			return false
		}
	}
	return true
}

// rejected is a reply in place of the challenge's answer, as an error.
type rejected struct{ reply gaff.Reply }

func (r *rejected) Error() string { return r.reply.Reason }

func reject(status int, format string, args ...any) error {
	return &rejected{gaff.Reply{
		Status: status, ContentType: "application/json", Body: []byte(`{"error":"Verification failed"}`),
		Reason: "handshake: " + fmt.Sprintf(format, args...),
	}}
}

// unavailable is the reply if gaff could not do its part; the sender may repeat the call.
func unavailable(what string, err error) error {
	return &rejected{gaff.Reply{
		Status: http.StatusServiceUnavailable, ContentType: "application/json",
		Body: []byte(`{"error":"Webhook processing failed"}`), Reason: what + ": " + err.Error(),
	}}
}

// answer answers a call that is the challenge c.
func (h *Handshaker) answer(ctx context.Context, c *challenge, reading verify.Reading) (gaff.Reply, bool) {
	reply, err := h.respond(ctx, c, reading)
	var other *rejected
	if errors.As(err, &other) {
		return other.reply, true
	}
	return reply, true
}

// respond returns the answer to the challenge c; its error is a [rejected].
func (h *Handshaker) respond(ctx context.Context, c *challenge, reading verify.Reading) (reply gaff.Reply, err error) {
	if err := h.checkGuard(c, reading); err != nil {
		return reply, err
	}
	value, digest, err := h.readValue(c, reading)
	if err != nil {
		return reply, err
	}
	if c.Capture != nil {
		if reply.Detail, err = h.captureKey(ctx, c, reading); err != nil {
			return reply, err
		}
	}
	if c.Fetch != nil {
		if reply.Detail, err = h.confirm(ctx, c, reading); err != nil {
			return reply, unavailable("confirm", err)
		}
	}
	for _, name := range c.settings {
		if h.o.Settings[name] == "" {
			return reply, reject(http.StatusForbidden, "the setting %s is not set", name)
		}
	}
	fill := []string{"{value}", value, "{hmac}", digest}
	for name, text := range h.o.Settings {
		fill = append(fill, "{config:"+name+"}", text)
	}
	return c.Answer.reply(reply, strings.NewReplacer(fill...))
}

// checkGuard compares the text at the guard's place with the operator's setting.
func (h *Handshaker) checkGuard(c *challenge, reading verify.Reading) error {
	if c.Guard == nil {
		return nil
	}
	label := h.reader.Label(c.guard)
	want := h.o.Settings[c.Guard.Setting]
	got, err := reading.Text(c.guard)
	switch {
	case want == "":
		return reject(http.StatusForbidden, "the setting %s is not set", c.Guard.Setting)
	case err != nil:
		return reject(cmp.Or(c.Guard.Status, http.StatusForbidden), "%s: %v", label, err)
	case subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1:
		return reject(cmp.Or(c.Guard.Status, http.StatusForbidden), "%s is not the setting %s", label, c.Guard.Setting)
	}
	return nil
}

// readValue returns the value that the answer is made of, and its HMAC.
func (h *Handshaker) readValue(c *challenge, reading verify.Reading) (value, digest string, err error) {
	if c.Value != nil {
		label := h.reader.Label(c.value)
		value, err = reading.Text(c.value)
		switch {
		case err != nil:
			return "", "", reject(http.StatusBadRequest, "%s: %v", label, err)
		case len(value) > maxChallengeValue:
			return "", "", reject(http.StatusBadRequest, "%s is longer than %d bytes", label, maxChallengeValue)
		case c.pattern != nil && !c.pattern.MatchString(value):
			return "", "", reject(http.StatusBadRequest, "%s is not of the form %s", label, c.Pattern)
		case c.HMAC != nil && !c.Signed && verify.ValidJSON([]byte(value)) == nil:
			return "", "", reject(http.StatusBadRequest, "%s is JSON: the answer could be used as a webhook's signature", label)
		case c.Forbid != "" && strings.ContainsAny(value, c.Forbid):
			return "", "", reject(http.StatusBadRequest, "%s holds one of %q: the answer could be used as a webhook's signature", label, c.Forbid)
		}
	}
	if c.HMAC != nil {
		if c.hmac == nil {
			return "", "", reject(http.StatusForbidden, "no secret is set to answer with")
		}
		digest = c.hmac.Sign(c.HMAC.Encoding, value)
	}
	return value, digest, nil
}

// captureKey stores the key that the sender hands over, and returns a note for the operator.
func (h *Handshaker) captureKey(ctx context.Context, c *challenge, reading verify.Reading) (note string, err error) {
	key, err := reading.Text(c.capture)
	if err != nil || len(key) > maxChallengeValue {
		return "", reject(http.StatusBadRequest, "%s: no key of at most %d bytes", h.reader.Label(c.capture), maxChallengeValue)
	}
	kept := false
	if h.o.Keep != nil && len(h.o.Secrets) == 0 {
		if kept, err = h.o.Keep(ctx, key); err != nil {
			return "", unavailable("keep the sender's key", err)
		}
	}
	if !kept {
		return "", reject(http.StatusUnauthorized, "it hands over a key, and the source takes none now: it has one, or gaff sources key NAME --open was not called")
	}
	return "the sender handed over its key; gaff sources key prints it", nil
}

func (a *Answer) reply(rep gaff.Reply, fill *strings.Replacer) (gaff.Reply, error) {
	if rep.Status = a.Status; rep.Status == 0 {
		rep.Status = http.StatusOK
	}
	switch {
	case a.JSON != nil:
		members := make(map[string]string, len(a.JSON))
		for name, text := range a.JSON {
			members[name] = fill.Replace(text)
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(members); err != nil {
			return rep, reject(http.StatusBadRequest, "%v", err)
		}
		rep.ContentType, rep.Body = "application/json", bytes.TrimRight(b.Bytes(), "\n")
	case a.Text != "":
		rep.ContentType, rep.Body = "text/plain; charset=utf-8", []byte(fill.Replace(a.Text))
	case a.Body != "":
		rep.ContentType, rep.Body = "application/json", []byte(a.Body)
	}
	for name, text := range a.Headers {
		text = fill.Replace(text)
		if strings.ContainsAny(text, "\r\n\x00") {
			return rep, reject(http.StatusBadRequest, "a line break for the header %s", name)
		}
		if rep.Header == nil {
			rep.Header = http.Header{}
		}
		rep.Header.Set(name, text)
	}
	return rep, nil
}

// confirm fetches the URL that confirms a subscription, if the operator wants it.
func (h *Handshaker) confirm(ctx context.Context, c *challenge, reading verify.Reading) (note string, err error) {
	text, err := reading.Text(c.fetch)
	if err != nil {
		return "", fmt.Errorf("%s: %w", h.reader.Label(c.fetch), err)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" ||
		!slices.ContainsFunc(c.hosts, func(re *regexp.Regexp) bool { return re.MatchString(u.Hostname()) }) {
		return "not confirmed: " + verify.Printable(text) + " is not one of the sender's hosts", nil
	}
	if h.o.Settings["confirm"] != "true" {
		return "to confirm the subscription, open " + text + " (or set settings.confirm to true)", nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	res, err := verify.WithinHost(h.o.Client, u).Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxConfirmation))
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s", u.Hostname(), res.Status)
	}
	return "subscription confirmed at " + u.Hostname(), nil
}
