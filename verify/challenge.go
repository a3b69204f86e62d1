package verify

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
)

// Challenge describes a call by which a sender tests an address: when it is one, and
// what the answer is. It is answered before, and instead of, being kept as an event.
type Challenge struct {
	// Method of the call; empty means POST.
	Method string `json:"method,omitempty" yaml:"method,omitempty"`
	// Match tells the call from a webhook: all must hold. An empty list: the method does.
	Match []Match `json:"match,omitempty" yaml:"match,omitempty"`
	// Signed: the sender signs the call, so it is verified first.
	Signed bool `json:"signed,omitempty" yaml:"signed,omitempty"`
	// Guard is a place whose text must be equal to an operator's setting.
	Guard *Guard `json:"guard,omitempty" yaml:"guard,omitempty"`
	// Value is the text that the answer is made of, {value} in it.
	Value *Location `json:"value,omitempty" yaml:"value,omitempty"`
	// Pattern is a regular expression that the whole value must match.
	Pattern string `json:"pattern,omitempty" yaml:"pattern,omitempty"`
	// Forbid lists characters of which a value must have none: under a key that signs
	// webhooks, too, a crafted value would make the answer a webhook's signature.
	Forbid string `json:"forbid,omitempty" yaml:"forbid,omitempty"`
	// HMAC is the HMAC of the value under the source's first secret, {hmac} in the answer.
	HMAC *ChallengeHMAC `json:"hmac,omitempty" yaml:"hmac,omitempty"`
	// Capture is a key that the sender hands over: it is kept, as long as the source has
	// none, and shown to the operator. A call that would replace one is refused.
	Capture *Location `json:"capture,omitempty" yaml:"capture,omitempty"`
	// Fetch is an address that confirms the subscription when it is fetched. That is done
	// only where the setting "confirm" is "true"; else the operator is told of it.
	Fetch *Fetch `json:"fetch,omitempty" yaml:"fetch,omitempty"`
	// Answer is what is sent.
	Answer Answer `json:"answer,omitzero" yaml:"answer,omitempty"`
}

// Match is a condition on a place: it holds a text, or this one.
type Match struct {
	Location `yaml:",inline"`
	// Value is the text that must stand there; empty: any that Pattern, a regular
	// expression for the whole text, allows.
	Value   string `json:"value,omitempty" yaml:"value,omitempty"`
	Pattern string `json:"pattern,omitempty" yaml:"pattern,omitempty"`
	// Absent turns it round: nothing may stand there.
	Absent bool `json:"absent,omitempty" yaml:"absent,omitempty"`
}

// Guard is a place with the setting that its text must equal.
type Guard struct {
	Location `yaml:",inline"`
	Setting  string `json:"setting" yaml:"setting"`
	// Status is the answer to another text; 403 if zero.
	Status int `json:"status,omitempty" yaml:"status,omitempty"`
}

// ChallengeHMAC says how the HMAC of a value is made and written.
type ChallengeHMAC struct {
	Algorithm string `json:"algorithm" yaml:"algorithm"` // hmac-sha1, hmac-sha256, hmac-sha512
	Encoding  string `json:"encoding" yaml:"encoding"`
}

// Fetch is where the address to fetch stands, and which hosts are allowed.
type Fetch struct {
	Location `yaml:",inline"`
	// Hosts are names. "{aws_region}" in one is the name of a region of Amazon's, "*" any
	// part without a dot: only where every such host is the sender's.
	Hosts []string `json:"hosts" yaml:"hosts"`
}

// Answer is made of templates of {value}, {hmac} and {config:NAME} (a setting). One of
// JSON, Text and Body, or none for an empty body.
type Answer struct {
	// Status is 200 if zero.
	Status int `json:"status,omitempty" yaml:"status,omitempty"`
	// JSON is an object of texts.
	JSON map[string]string `json:"json,omitempty" yaml:"json,omitempty"`
	// Text is sent as text/plain, Body as it stands, as application/json.
	Text string `json:"text,omitempty" yaml:"text,omitempty"`
	Body string `json:"body,omitempty" yaml:"body,omitempty"`
	// Headers are set beside.
	Headers map[string]string `json:"headers,omitempty" yaml:"headers,omitempty"`
}

// Challenges is one challenge or several. In a file, a list or a single one.
type Challenges []Challenge

// UnmarshalJSON takes an object or a list of objects.
func (c *Challenges) UnmarshalJSON(text []byte) error {
	if t := bytes.TrimSpace(text); len(t) > 0 && t[0] == '{' {
		text = append(append([]byte{'['}, t...), ']')
	}
	var list []Challenge
	err := strictJSON(text, &list)
	*c = list
	return err
}

// UnmarshalYAML takes a mapping or a sequence of mappings.
func (c *Challenges) UnmarshalYAML(unmarshal func(any) error) error {
	var items []any
	if unmarshal(&items) == nil {
		var list []Challenge
		err := unmarshal(&list)
		*c = list
		return err
	}
	one := make([]Challenge, 1)
	err := unmarshal(&one[0])
	*c = one
	return err
}

// HandshakeOptions is what handshakes need beside the scheme. The zero value answers
// those that need nothing.
type HandshakeOptions struct {
	// Secrets, Settings and Client are as in [Options].
	Secrets  []string
	Settings map[string]string
	Client   *http.Client
	// Keep keeps a key that the sender handed over, and reports whether it did: false if
	// the source has one already, or takes none now. Nil: none is kept.
	Keep func(ctx context.Context, key string) (kept bool, err error)
}

// Handshaker answers the challenges of a scheme; a gaff.Handshaker.
type Handshaker struct {
	o       HandshakeOptions
	list    []challenge
	methods []string
	set     pointers
	// open unseals a body; empty for one that is not sealed. Nil: the sender seals none.
	open func(body []byte) string
}

// challenge is a [Challenge] ready for use.
type challenge struct {
	Challenge
	match   []matching
	guard   place
	value   place
	capture place
	fetch   place
	pattern *regexp.Regexp
	hosts   []*regexp.Regexp
	keys    secretKeys
	// settings are those that the answer is made of.
	settings []string
}

var configToken = regexp.MustCompile(`\{config:([^}]*)\}`)

type matching struct {
	Match
	at      place
	pattern *regexp.Regexp
}

const (
	maxChallengeValue = 4096
	fetchPatience     = 8 * time.Second
)

// NewHandshaker readies the challenges of a scheme; nil if it has none. The error joins
// all that is wrong.
func NewHandshaker(s Scheme, o HandshakeOptions) (*Handshaker, error) {
	if len(s.Challenge) == 0 {
		return nil, nil
	}
	if o.Client == nil {
		o.Client = defaultClient()
	}
	var f faults
	h := &Handshaker{o: o}
	if s.Name == "lark" { // which does not sign its challenge, but seals it
		h.open = newSealed(o.Secrets).open
	}
	for i, c := range s.Challenge {
		path := fmt.Sprintf("challenge[%d]", i)
		if len(s.Challenge) == 1 {
			path = "challenge"
		}
		ready := challenge{
			Challenge: c,
			value:     newPlace(c.Value, path+".value", &h.set, &f),
			capture:   newPlace(c.Capture, path+".capture", &h.set, &f),
		}
		ready.check(s, o, path, &h.set, &f)
		if ready.Method != http.MethodPost && !slices.Contains(h.methods, ready.Method) {
			h.methods = append(h.methods, ready.Method)
		}
		h.list = append(h.list, ready)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	return h, nil
}

func (c *challenge) check(s Scheme, o HandshakeOptions, path string, set *pointers, f *faults) {
	switch c.Method {
	case "":
		c.Method = http.MethodPost
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost:
	default:
		f.oneOf(path+".method", c.Method, "GET, HEAD, OPTIONS, POST")
	}
	if c.Method == http.MethodPost && len(c.Match) == 0 {
		f.add(path+".match", "missing; a POST without it would answer every webhook")
	}
	for i, m := range c.Match {
		at := fmt.Sprintf("%s.match[%d]", path, i)
		ready := matching{m, newPlace(&m.Location, at, set, f), wholeText(m.Pattern, at+".pattern", f)}
		if m.Absent && m.Value+m.Pattern != "" {
			f.add(at+".absent", "goes with neither value nor pattern")
		}
		c.match = append(c.match, ready)
	}
	if c.Guard != nil {
		c.guard = newPlace(&c.Guard.Location, path+".guard", set, f)
		if s := c.Guard.Status; s != 0 && (s < 400 || s > 499) {
			f.add(path+".guard.status", "%d; a status from 400 to 499 is wanted", s)
		}
		if c.Guard.Setting == "" {
			f.add(path+".guard.setting", "missing; the name of the setting with the expected text is wanted")
		}
	}
	c.settings = c.Answer.settings()
	texts := c.Answer.texts()
	uses := func(token string) bool {
		return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(t, token) })
	}
	if c.Value == nil && (uses("{value}") || uses("{hmac}") || c.HMAC != nil) {
		f.add(path+".value", "missing; the answer is made of it")
	}
	if strings.Contains(c.Answer.Body, "{value}") || strings.Contains(c.Answer.Body, "{hmac}") {
		f.add(path+".answer.body", "is sent as it stands; write the members under json, or a text under text")
	}
	c.pattern = wholeText(c.Pattern, path+".pattern", f)
	if c.HMAC == nil && uses("{hmac}") {
		f.add(path+".hmac", "missing; the answer is made of it")
	}
	if c.Answer.Status != 0 && (c.Answer.Status < 200 || c.Answer.Status > 299) {
		f.add(path+".answer.status", "%d; a status from 200 to 299 is wanted", c.Answer.Status)
	}
	for name, value := range c.Answer.Headers {
		if !isToken(name) {
			f.add(path+".answer.headers", "%q is no header name", name)
		}
		if strings.ContainsAny(value, "\r\n") {
			f.add(path+".answer.headers", "%s holds a line break", name)
		}
	}
	if c.HMAC != nil {
		c.checkHMAC(s, o, path, f)
	}
	if c.Fetch != nil {
		c.fetch = newPlace(&c.Fetch.Location, path+".fetch", set, f)
		if len(c.Fetch.Hosts) == 0 {
			f.add(path+".fetch.hosts", "missing; the sender's hosts are wanted, such as [hooks.example.com]")
		}
		for _, host := range c.Fetch.Hosts {
			c.hosts = append(c.hosts, hostPattern(host))
		}
	}
}

// checkHMAC readies the keys of an answer that is an HMAC, which must not sign a webhook.
func (c *challenge) checkHMAC(s Scheme, o HandshakeOptions, path string, f *faults) {
	a, ok := findAlgorithm(c.HMAC.Algorithm)
	if !ok || !a.mac {
		f.oneOf(path+".hmac.algorithm", c.HMAC.Algorithm, "hmac-sha1, hmac-sha256, hmac-sha512")
	} else if len(o.Secrets) > 0 {
		c.keys = newSecretKeys(Options{Secrets: o.Secrets}, s.Key, a, f)
	}
	if !slices.Contains([]string{"hex", "hex-upper", "base64", "base64url"}, c.HMAC.Encoding) {
		f.oneOf(path+".hmac.encoding", c.HMAC.Encoding, "hex, hex-upper, base64, base64url")
	}
	if c.Method == http.MethodPost && !c.Signed {
		f.add(path+".signed", "an HMAC for anyone who asks is a signature for anyone: only of signed calls, or of a GET")
	}
	if !c.Signed && c.Pattern == "" {
		f.add(path+".pattern", "missing; anyone may ask for the HMAC of a value, so its form must be one that no webhook's body has, such as [A-Za-z0-9_-]+")
	}
	if !c.Signed && s.Kind == "signature" && s.Content != "" {
		f.add(path+".hmac", "does not go with content: %s: a value of any form could be a webhook's body; only bodies of JSON can be told from it", s.Content)
	}
}

// hostPattern returns the pattern of an entry of [Fetch.Hosts].
func hostPattern(host string) *regexp.Regexp {
	parts := strings.NewReplacer(`\*`, `[a-z0-9-]+`, `\{aws_region\}`, awsRegion)
	return regexp.MustCompile("^" + parts.Replace(regexp.QuoteMeta(host)) + "$")
}

func (a *Answer) texts() []string {
	texts := []string{a.Text, a.Body}
	texts = slices.AppendSeq(texts, maps.Values(a.JSON))
	return slices.AppendSeq(texts, maps.Values(a.Headers))
}

// settings lists the operator's settings that the answer is made of.
func (a *Answer) settings() (names []string) {
	for _, text := range a.texts() {
		for _, m := range configToken.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// wholeText readies a pattern that a whole text must match; nil for none.
func wholeText(pattern, path string, f *faults) *regexp.Regexp {
	if pattern == "" {
		return nil
	}
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		f.add(path, "%v", err)
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
	// A body that is no JSON leaves the values empty, and then no condition on it holds.
	values, _ := h.set.find(r.Text())
	for i := range h.list {
		c := &h.list[i]
		if c.Method != r.Method || !c.matches(r, values) {
			continue
		}
		if c.Signed && refusal != nil {
			return gaff.Reply{}, false
		}
		return h.answer(ctx, c, r, values)
	}
	return gaff.Reply{}, false
}

func (c *challenge) matches(r *gaff.Request, values [][]byte) bool {
	for _, m := range c.match {
		text, err := m.at.read(r, values)
		switch {
		case m.Absent:
			if !errors.Is(err, ErrMissing) || m.at.in == "json" && len(values) > m.at.index && values[m.at.index] != nil {
				return false
			}
		case err != nil, m.Value != "" && text != m.Value, m.pattern != nil && !m.pattern.MatchString(text):
			return false
		}
	}
	return true
}

func rejected(status int, format string, args ...any) (gaff.Reply, bool) {
	return gaff.Reply{
		Status: status, ContentType: "application/json", Body: []byte(`{"error":"Verification failed"}`),
		Reason: "handshake: " + fmt.Sprintf(format, args...),
	}, true
}

func (h *Handshaker) answer(ctx context.Context, c *challenge, r *gaff.Request, values [][]byte) (gaff.Reply, bool) {
	if c.Guard != nil {
		want := h.o.Settings[c.Guard.Setting]
		got, err := c.guard.read(r, values)
		switch {
		case want == "":
			return rejected(http.StatusForbidden, "the setting %s is not set", c.Guard.Setting)
		case err != nil:
			return rejected(cmp.Or(c.Guard.Status, http.StatusForbidden), "%s: %v", c.guard.label, err)
		case subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1:
			return rejected(cmp.Or(c.Guard.Status, http.StatusForbidden), "%s is not the setting %s", c.guard.label, c.Guard.Setting)
		}
	}
	value, digest := "", ""
	if c.Value != nil {
		text, err := c.value.read(r, values)
		switch {
		case err != nil:
			return rejected(http.StatusBadRequest, "%s: %v", c.value.label, err)
		case len(text) > maxChallengeValue:
			return rejected(http.StatusBadRequest, "%s is longer than %d bytes", c.value.label, maxChallengeValue)
		case c.pattern != nil && !c.pattern.MatchString(text):
			return rejected(http.StatusBadRequest, "%s is not of the form %s", c.value.label, c.Pattern)
		case c.HMAC != nil && !c.Signed && ValidJSON([]byte(text)) == nil:
			return rejected(http.StatusBadRequest, "%s is JSON: the answer could be used as a webhook's signature", c.value.label)
		case c.Forbid != "" && strings.ContainsAny(text, c.Forbid):
			return rejected(http.StatusBadRequest, "%s holds one of %q: the answer could be used as a webhook's signature", c.value.label, c.Forbid)
		}
		value = text
	}
	if c.HMAC != nil {
		if len(c.keys) == 0 {
			return rejected(http.StatusForbidden, "no secret is set to answer with")
		}
		digest = c.keys.sign(c.HMAC.Encoding, value)
	}
	rep := gaff.Reply{}
	if c.Capture != nil {
		key, err := c.capture.read(r, values)
		if err != nil || len(key) > maxChallengeValue {
			return rejected(http.StatusBadRequest, "%s: no key of at most %d bytes", c.capture.label, maxChallengeValue)
		}
		kept := false
		if h.o.Keep != nil && len(h.o.Secrets) == 0 {
			if kept, err = h.o.Keep(ctx, key); err != nil {
				return gaff.Reply{Status: http.StatusServiceUnavailable, ContentType: "application/json",
					Body: []byte(`{"error":"Webhook processing failed"}`), Reason: "keep the sender's key: " + err.Error()}, true
			}
		}
		if !kept {
			return rejected(http.StatusUnauthorized, "it hands over a key, and the source takes none now: it has one, or gaff sources key NAME --open was not called")
		}
		rep.Detail = "the sender handed over its key; gaff sources key prints it"
	}
	if c.Fetch != nil {
		note, err := h.confirm(ctx, c, r, values)
		if err != nil {
			return gaff.Reply{Status: http.StatusServiceUnavailable, ContentType: "application/json",
				Body: []byte(`{"error":"Webhook processing failed"}`), Reason: "confirm: " + err.Error()}, true
		}
		rep.Detail = note
	}
	for _, name := range c.settings {
		if h.o.Settings[name] == "" {
			return rejected(http.StatusForbidden, "the setting %s is not set", name)
		}
	}
	fill := []string{"{value}", value, "{hmac}", digest}
	for name, text := range h.o.Settings {
		fill = append(fill, "{config:"+name+"}", text)
	}
	return c.Answer.reply(rep, strings.NewReplacer(fill...))
}

func (a *Answer) reply(rep gaff.Reply, fill *strings.Replacer) (gaff.Reply, bool) {
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
			return rejected(http.StatusBadRequest, "%v", err)
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
			return rejected(http.StatusBadRequest, "a line break for the header %s", name)
		}
		if rep.Header == nil {
			rep.Header = http.Header{}
		}
		rep.Header.Set(name, text)
	}
	return rep, true
}

// confirm fetches the address that confirms a subscription, where the operator wants it.
func (h *Handshaker) confirm(ctx context.Context, c *challenge, r *gaff.Request, values [][]byte) (note string, err error) {
	text, err := c.fetch.text(r, values)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" ||
		!slices.ContainsFunc(c.hosts, func(re *regexp.Regexp) bool { return re.MatchString(u.Hostname()) }) {
		return "not confirmed: " + printable(text) + " is not one of the sender's hosts", nil
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
	res, err := withinHost(h.o.Client, u).Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, remoteMaxBytes))
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s", u.Hostname(), res.Status)
	}
	return "subscription confirmed at " + u.Hostname(), nil
}
