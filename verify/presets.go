package verify

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

//go:embed presets.json
var presetsFile []byte

// presets are the kept schemes as JSON, by name. They are decoded at each use, so that
// no caller can change another's.
var presets = sync.OnceValue(func() map[string]json.RawMessage {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(presetsFile, &all); err != nil {
		panic("verify: presets.json: " + err.Error())
	}
	return all
})

// Preset returns the kept scheme of a sender, such as "stripe"; ok is false if there is
// none of that name.
func Preset(name string) (s Scheme, ok bool) {
	text, ok := presets()[name]
	if !ok {
		return Scheme{}, false
	}
	if err := strictJSON(text, &s); err != nil {
		panic("verify: presets.json: " + name + ": " + err.Error())
	}
	return s, true
}

// Presets returns the names of all kept schemes, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets())) }

// Fingerprint is the name that a secret has as [gaff.Verification.KeyID] under a scheme;
// empty for what cannot be a key of it.
func Fingerprint(secret string, s Scheme) string {
	switch s.Kind {
	case "basic":
		return fingerprint([]byte(secret))
	case "token":
		key, err := decodeSecret(secret, KeyFormat{})
		if err != nil {
			return ""
		}
		return fingerprint(key)
	}
	source := s.Key.Source
	if s.Name == "travis" || s.Name == "paddle-classic" {
		source = "spki_pem"
	}
	if kind, public := keyKinds[source]; public || strings.HasPrefix(secret, "whpk_") {
		if !public {
			kind = "ed25519_base64"
		}
		keys, err := parseKey(Key{Kind: kind, Value: secret})
		if err != nil {
			return ""
		}
		return keys[0].id
	}
	format := s.Key
	switch s.Name {
	case "standard-webhooks":
		format = standardKey(s.Key)
	case "adyen":
		format = KeyFormat{Decode: "hex"}
	case "braintree":
		format = KeyFormat{Decode: "sha1"}
	}
	list, err := decodeSecrets(secret, format)
	if err != nil || s.Key.Source != "" {
		return ""
	}
	return fingerprint(list[0])
}

// NeedsSecret reports whether a scheme checks nothing without an operator's key.
func NeedsSecret(s Scheme) bool {
	switch s.Name {
	case "aws-sns", "paypal", "adobe":
		return s.Kind != "code"
	}
	return s.Key.Source != "jwks"
}

//go:embed about.json
var aboutFile []byte

// About is what people need to know to set a sender up.
type About struct {
	// Title is the sender's name; Docs its own page about webhooks, empty if not known.
	Title string `json:"title"`
	Docs  string `json:"docs,omitempty"`
	// Where says where to enter the address, Secret which secret is meant; both empty
	// where nothing but the usual is known: the sender's settings, and the secret there.
	Where  string `json:"where,omitempty"`
	Secret string `json:"secret,omitempty"`
	// Events says which to choose, and where; empty where there is nothing to choose.
	Events string `json:"events,omitempty"`
	// Checked says when the preset was last compared with what the sender documents;
	// nil: it was not, for the reason in Unchecked. One of both is always set.
	Checked   *Checked `json:"checked,omitempty"`
	Unchecked string   `json:"unchecked,omitempty"`
}

// Checked says what a preset was compared with, and when.
type Checked struct {
	// Source is the address of the sender's document, or the sender's SDK as
	// "npm NAME@VERSION" or "go MODULE@VERSION".
	Source string `json:"source"`
	// Date is the day of the comparison, such as 2026-11-29.
	Date string `json:"date"`
}

var abouts = sync.OnceValue(func() map[string]About {
	var all map[string]About
	if err := json.Unmarshal(aboutFile, &all); err != nil {
		panic("verify: about.json: " + err.Error())
	}
	return all
})

// PresetAbout describes a preset to people; Where and Secret are filled.
func PresetAbout(name string) About {
	a := abouts()[name]
	s, ok := Preset(name)
	if !ok {
		return a
	}
	a.Title = cmp.Or(a.Title, name)
	a.Where = cmp.Or(a.Where, "the webhook settings of "+a.Title+": paste the address")
	switch {
	case a.Secret != "":
	case !NeedsSecret(s):
		a.Secret = "none: its public keys are fetched"
	case s.Kind == "basic":
		a.Secret = "user:password, as entered at the sender"
	case s.Kind == "token":
		a.Secret = "the token that it sends"
	case s.Key.Source != "" || s.Name == "travis" || s.Name == "paddle-classic":
		a.Secret = "its public key, as it shows it"
	default:
		a.Secret = "the signing secret, as it shows it"
	}
	return a
}

// Needs lists the settings that a scheme cannot do without, and those that a handshake
// of it asks for.
func (s Scheme) Needs() (list []string) {
	o := Options{Secrets: nil}
	var f faults
	switch s.Kind {
	case "signature":
		newSignature(s, o, &f)
	case "jwt":
		newJWT(s, o, &f)
	case "code":
		newCode(s, o, &f)
	}
	for _, err := range f {
		if name, ok := strings.CutPrefix(err.Error(), "settings."); ok {
			name, _, _ = strings.Cut(name, ":")
			if !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	if s.Key.Source == "jwks-by-kid" {
		list = append(list, "client_id")
	}
	for _, c := range s.Challenge {
		if c.Guard != nil {
			list = append(list, c.Guard.Setting)
		}
		list = append(list, c.Answer.settings()...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Traits says in a few words what a scheme knows beside how to verify.
func (s Scheme) Traits() (list []string) {
	if len(s.Challenge) > 0 {
		list = append(list, "handshake")
	}
	if s.Batch != nil {
		list = append(list, "batches")
	}
	if s.Jobs != nil {
		list = append(list, "jobs")
	}
	if s.Content != "" {
		list = append(list, strings.SplitN(s.Content, ":", 2)[0])
	}
	if s.Ack != nil {
		list = append(list, "own answer")
	}
	if s.MaxBody > 0 {
		list = append(list, fmt.Sprintf("bodies up to %d MiB", s.MaxBody>>20))
	}
	if s.CoversBody != nil && !*s.CoversBody {
		list = append(list, "body not covered")
	}
	return list
}
