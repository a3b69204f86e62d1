package sender

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/verify"
)

// Each preset says when it was compared with its sender's document, or why it was not.
func TestPresetsSayWhenTheyWereChecked(t *testing.T) {
	t.Parallel()
	for _, name := range Presets() {
		if err := checkedFault(PresetAbout(name)); err != "" {
			t.Errorf("about.json: %s: %s", name, err)
		}
	}
}

// checkedFault returns the fault of checked and unchecked; empty: nothing.
func checkedFault(a About) string {
	switch {
	case a.Checked == nil && strings.TrimSpace(a.Unchecked) == "":
		return "neither checked nor unchecked: compare it with the sender's document, or say why not"
	case a.Checked == nil:
		return ""
	case a.Unchecked != "":
		return "both checked and unchecked"
	}
	if day, err := time.Parse(time.DateOnly, a.Checked.Date); err != nil || day.Before(time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)) {
		return "checked.date " + a.Checked.Date + ": want a day such as 2026-11-29"
	}
	if sdkVersion.MatchString(a.Checked.Source) {
		return ""
	}
	if u, err := url.Parse(a.Checked.Source); err != nil || u.Scheme != "https" || !strings.Contains(u.Host, ".") || len(u.Path) < 2 {
		return "checked.source " + a.Checked.Source + ": want the https address of one document, npm NAME@VERSION or go MODULE@VERSION"
	}
	return ""
}

func TestCheckedFault(t *testing.T) {
	t.Parallel()
	at := func(source, date string) About { return About{Checked: &Checked{source, date}} }
	for _, tt := range []struct {
		name  string
		about About
		ok    bool
	}{
		{"document", at("https://docs.a.test/webhooks", "2026-11-29"), true},
		{"npm package", at("npm @a/b-sdk@1.2.3", "2026-11-29"), true},
		{"Go module", at("go a.test/b/v2@v2.0.1", "2027-02-28"), true},
		{"reason", About{Unchecked: "no public document"}, true},
		{"nothing", About{}, false},
		{"both", About{Checked: &Checked{"https://docs.a.test/webhooks", "2026-11-29"}, Unchecked: "why"}, false},
		{"no such day", at("https://docs.a.test/webhooks", "2026-11-31"), false},
		{"home page", at("https://a.test", "2026-11-29"), false},
		{"package without a version", at("npm a", "2026-11-29"), false},
		{"no address", at("the docs", "2026-11-29"), false},
	} {
		if fault := checkedFault(tt.about); (fault == "") != tt.ok {
			t.Errorf("%s: %q", tt.name, fault)
		}
	}
}

func TestSecretPlacesOfPresets(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"flutterwave": {"header:verif-hash"}, "cloudflare-notifications": {"header:cf-webhook-auth"}, "figma": {"json:/passcode"},
		"msgraph": {"json:/value/*/clientState"}, "strava": {"query:token"}, "postmark": {"header:Authorization"},
		"gcp-pubsub": {"header:Authorization"}, "stripe": nil, "github": nil, "plaid": nil, "kinde": nil,
	} {
		s, ok := Preset(name)
		if !ok {
			t.Errorf("no preset %s", name)
		}
		if got := s.SecretPlaces(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Each preset's own signature is made of headers that it names: a rejected request keeps them.
func TestHeaderNamesHoldWhatIsSigned(t *testing.T) {
	t.Parallel()
	for _, name := range Presets() {
		s, _ := Preset(name)
		if s.Kind == "basic" {
			continue
		}
		v, err := New(s, verify.Options{Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, Settings: map[string]string{"callback_url": "https://h/x", "webhook_id": "w"}})
		if err != nil {
			continue // it wants keys of another kind
		}
		r := &gaff.Request{Method: "POST", URL: "https://h/x", Body: []byte(`{}`), Header: map[string][]string{}}
		if v.Sign(r, time.Unix(1700000000, 0)) != nil {
			continue
		}
		names := s.HeaderNames()
		for header := range r.Header {
			if header != "Content-Type" && !slices.Contains(names, header) {
				t.Errorf("%s signs by %s, and names %s", name, header, strings.Join(names, ", "))
			}
		}
	}
}

// Of the catalogue's senders, nothing is missing silently.
func TestCatalogueIsWhole(t *testing.T) {
	t.Parallel()
	entries := strings.FieldsFunc(catalogue, func(r rune) bool { return r == ';' || r == '\n' })
	if len(entries) != 140 {
		t.Errorf("%d senders; the catalogue has 140 whose scheme is known", len(entries))
	}
	for _, entry := range entries {
		for _, name := range strings.Fields(entry) {
			if _, ok := Preset(name); !ok {
				t.Errorf("no preset %s", name)
			}
		}
	}
}

// Each preset is in one of the categories, and a search finds those with all words.
func TestPresetsByCategory(t *testing.T) {
	t.Parallel()
	all := 0
	for _, category := range Categories {
		n := len(SearchPresets(category, ""))
		if n == 0 {
			t.Errorf("%s: no preset", category)
		}
		all += n
	}
	if all != len(Presets()) {
		t.Errorf("%d presets are in a category, want %d", all, len(Presets()))
	}
	for _, c := range []struct{ category, text, want string }{
		{"", "STRIPE", "stripe"}, {"", "gitea form", "gitea-form"}, {"payments", "paddle", "paddle paddle-classic"}, {"AI", "stripe", ""}, {"", "payments mollie classic", "mollie-classic"},
	} {
		if got := strings.Join(SearchPresets(c.category, c.text), " "); got != c.want {
			t.Errorf("%q in %q: %q, want %q", c.text, c.category, got, c.want)
		}
	}
}

var update = flag.Bool("update", false, "write docs/presets.md again")

// The list of presets is made of the presets.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := Catalogue(&want); err != nil {
		t.Fatal(err)
	}
	const file = "../docs/presets.md"
	if *update {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("docs/presets.md is not what the presets are: go test ./sender -run Catalogue -update")
	}
	for _, name := range Presets() {
		if about := abouts()[name]; about.Title == "" || about.Where == "" || about.Secret == "" {
			t.Errorf("about.json does not tell how to set up %s", name)
		}
	}
	for name := range abouts() {
		if _, ok := Preset(name); !ok {
			t.Errorf("about.json describes %s, which is not a preset", name)
		}
	}
}

func TestPresets(t *testing.T) {
	t.Parallel()
	if len(Presets()) < 140 {
		t.Errorf("%d presets", len(Presets()))
	}
	if _, ok := Preset("nobody"); ok {
		t.Error("an unknown preset")
	}
	signed := 0
	for _, name := range Presets() {
		s, ok := Preset(name)
		if !ok {
			t.Fatalf("%s: listed and not there", name)
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var again Description
		if err := strictJSON(text, &again); err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%s does not survive JSON: %v\n%s", name, err, text)
		}
		o := options(t, s.Scheme)
		v, err := New(s, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := NewHandshaker(s, HandshakeOptions{Secrets: o.Secrets, Settings: o.Settings}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.checkReading().Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, missing := range s.Needs() {
			if o.Settings[missing] == "" && len(s.Challenge) == 0 {
				t.Errorf("%s needs the setting %s, which this test does not know", name, missing)
			}
		}
		if len(o.Secrets) > 0 {
			if got := verify.Fingerprint(o.Secrets[0], s.Scheme); got == "" {
				t.Errorf("%s: no fingerprint of its secret", name)
			}
		}
		if v.Describe() == "" {
			t.Errorf("%s: no description", name)
		}
		r := &gaff.Request{
			Method: "POST", URL: "https://a.test/hook?x=1", Body: []byte(`{"a":1,"webhookTimestamp":1767225600000}`), ReceivedAt: noon,
			Header: http.Header{"Content-Type": {"application/json"}},
		}
		if s.Name == "twilio" || s.Name == "plivo" || strings.Contains(s.Signed, "form_sorted") {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Body = []byte("b=2&a=1")
		}
		if field, ok := strings.CutPrefix(s.Content, "form:"); ok && strings.Contains(s.Signed, "{form:") {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Body = []byte(field + "=1")
		}
		for _, h := range headerTokens(s.Signed) {
			r.Header.Set(h, "value-of-"+h)
		}
		err = v.Sign(r, noon)
		if able := err == nil; able != s.CanSign() && len(o.Keys) == 0 {
			t.Errorf("%s: CanSign %t: %v", name, s.CanSign(), err)
		}
		if err != nil {
			continue
		}
		signed++
		got, err := v.Verify(t.Context(), r)
		if err != nil {
			t.Errorf("%s does not take what it signed: %v\n%v", name, err, r.Header)
			continue
		}
		if got.Scheme == "" || got.KeyID == "" {
			t.Errorf("%s: %+v", name, got)
		}
		if len(o.Secrets) > 0 && got.KeyID != verify.Fingerprint(o.Secrets[0], s.Scheme) {
			t.Errorf("%s: key %s, and its fingerprint is %s", name, got.KeyID, verify.Fingerprint(o.Secrets[0], s.Scheme))
		}
		// Some cover a part of the body only, or none of it: docs/verification.md names them.
		if s.Kind != "signature" && s.Kind != "code" || slices.Contains([]string{"adyen", "dropbox-sign", "kie", "mailgun", "mercado-pago", "msgraph"}, name) {
			continue
		}
		r.Body = bytes.Replace(r.Body, []byte("1"), []byte("2"), 1)
		if s.Name == "braintree" {
			r.Body = bytes.Replace(r.Body, []byte("bt_payload=e"), []byte("bt_payload=f"), 1)
		}
		if _, err := v.Verify(t.Context(), r); err == nil {
			t.Errorf("%s takes a changed body", name)
		}
	}
	if signed < 110 {
		t.Errorf("only %d presets sign", signed)
	}
}

var sdkVersion = regexp.MustCompile(`^(npm|go) [@a-z0-9./_-]+@v?[0-9]+\.[0-9]+\.[0-9]+\S*$`)

// catalogue names, for each sender whose way of signing is documented, the presets that
// stand for it.
const catalogue = `
standard-webhooks; svix; clerk resend brex liveblocks polar lithic increase dub supabase; openai; replicate; gitlab-signed; bigcommerce
fal; elevenlabs; heygen; assemblyai; deepgram; mux; cloudinary; cloudflare-stream cloudflare-notifications; livekit; sanity; lastframe
github; gitlab; bitbucket; gitea forgejo gogs; jira; linear; vercel vercel-drain; netlify; circleci; buildkite buildkite-token; travis
terraform; heroku; npm-hooks; docker-hub; sentry; pagerduty; launchdarkly; grafana; cursor; qstash; nango; hookdeck; plane; calcom
stripe; paypal; adyen adyen-platform; square; paddle paddle-classic; lemonsqueezy; coinbase-commerce; coinbase-cdp; chargebee; recurly
razorpay; paystack; flutterwave; checkout; braintree; mollie mollie-classic; gocardless; wise; revolut; plaid; cashfree; worldpay; zoho; qonto
shopify; woocommerce; easypost; commercelayer fourthwall oracle-cx
slack; discord; twilio; sendgrid; mailgun; mandrill mailchimp; postmark; meta; x-twitter; line; telegram; viber; lark; msteams; webex; zoom
intercom; zendesk; front front-app; helpscout; customerio; klaviyo; knock; courier; telnyx; plivo; vonage messagebird; sendbird segment podium
notion; asana; trello; monday; clickup; airtable; typeform; tally; calendly; hubspot hubspot-v1 hubspot-v2; figma; contentful; strapi; webflow
dropbox; dropbox-sign; box; docusign; persona; xero; quickbooks; close
workos; okta; fusionauth; logto; kinde; turnkey; fireblocks; gohighlevel gohighlevel-rsa
aws-sns; eventgrid; cloudevents; gcp-pubsub; google-push; msgraph; websub; twitch; strava; nylas; adobe
`
