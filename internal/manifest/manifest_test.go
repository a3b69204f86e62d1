package manifest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gaff/destination"
	"gaff/internal/manifest"
	"gaff/internal/wire"
)

// destinations are stored in memory; "fixed" is one of the configuration.
type destinations map[string]destination.Spec

func (d destinations) List(context.Context) ([]destination.Managed, error) {
	all := []destination.Managed{{Spec: destination.Spec{Name: "fixed", URL: "https://fixed.example.com"}.WithDefaults(), Origin: destination.OriginConfig}}
	for _, name := range slices.Sorted(maps.Keys(d)) {
		all = append(all, destination.Managed{Spec: d[name].WithDefaults(), Origin: destination.OriginAPI})
	}
	return all, nil
}

func (d destinations) Create(_ context.Context, s destination.Spec) (destination.Managed, error) {
	d[s.Name] = s
	return destination.Managed{}, s.Check()
}

func (d destinations) Update(_ context.Context, name string, change func(*destination.Spec) error) (destination.Managed, error) {
	s := d[name]
	err := change(&s)
	d[name] = s
	return destination.Managed{}, err
}

func (d destinations) Delete(_ context.Context, name string) error {
	delete(d, name)
	return nil
}

var full = destination.Spec{
	Name: "crm", URL: "https://crm.example.com/in?token=hunter2", Events: []string{"shop:*"}, Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
	Headers: map[string]string{"X-Api-Token": "hunter2", "X-Team": "film"}, Rate: 2.5, OrderBy: "/id", Final: []int{},
	OAuth: &destination.OAuth{TokenURL: "https://id.example.com/token", ClientID: "gaff", ClientSecret: "hunter2"},
}

// secrets are the values of the references to full.
var secrets = map[string]string{
	"DESTINATION_CRM_URL": full.URL, "DESTINATION_CRM_SECRETS_0": full.Secrets[0], "DESTINATION_CRM_HEADERS_X_API_TOKEN": "hunter2",
	"DESTINATION_CRM_OAUTH_CLIENTSECRET": "hunter2",
}

func apply(t *testing.T, to destinations, in wire.ConfigurationRequest) (changes []string, err error) {
	t.Helper()
	made, err := (&manifest.Configuration{Destinations: to}).Apply(t.Context(), in)
	for _, c := range made {
		text := c.Action + " " + c.Kind + " " + c.Name
		for _, f := range c.Fields {
			text += fmt.Sprintf(" %s %s %s", f.Name, f.From, f.To)
		}
		changes = append(changes, text)
	}
	return changes, err
}

func TestExportAppliedElsewhereIsTheSame(t *testing.T) {
	t.Parallel()
	from, to := destinations{"crm": full, "pulled": {Name: "pulled", Kind: destination.KindPull}}, destinations{}
	doc, err := (&manifest.Configuration{Destinations: from}).Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(doc)
	if strings.Contains(string(text), "hunter2") || strings.Contains(string(text), "whsec_") || strings.Contains(string(text), "fixed") || strings.Contains(string(text), "maxAttempts") {
		t.Errorf("exported %s", text)
	}
	in := wire.ConfigurationRequest{Configuration: doc}
	if _, err := apply(t, to, in); err == nil || !strings.Contains(err.Error(), "no value for DESTINATION_CRM_") || len(to) > 0 {
		t.Errorf("without secrets: %v, %v", err, to)
	}
	in.Secrets = secrets
	if _, err := apply(t, to, in); err != nil {
		t.Fatal(err)
	}
	for name := range from {
		if diff := cmp.Diff(from[name].WithDefaults(), to[name].WithDefaults()); diff != "" {
			t.Error(diff)
		}
	}
	in.DryRun, in.Prune = true, true
	for _, in.Secrets = range []map[string]string{secrets, nil} {
		if changes, err := apply(t, to, in); err != nil || len(changes) > 0 {
			t.Errorf("afterwards: %v, %v", changes, err)
		}
	}
}

func TestChangesAreListedWithoutSecrets(t *testing.T) {
	t.Parallel()
	to := destinations{"crm": full, "old": {Name: "old", URL: "https://old.example.com"}}
	doc, err := (&manifest.Configuration{Destinations: to}).Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	delete(doc.Destinations, "old")
	doc.Destinations["crm"] = wire.Object(strings.Replace(string(doc.Destinations["crm"]), `"rate":2.5`, `"rate":3`, 1))
	in := wire.ConfigurationRequest{Configuration: doc, Secrets: map[string]string{"DESTINATION_CRM_HEADERS_X_API_TOKEN": "changed"}, Prune: true, DryRun: true}
	want := []string{
		`update destination crm headers {"X-Api-Token":"[masked]","X-Team":"film"} {"X-Api-Token":"[masked]","X-Team":"film"} rate 2.5 3`,
		`delete destination old`,
	}
	changes, err := apply(t, to, in)
	if diff := cmp.Diff(want, changes); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if to["crm"].Rate != 2.5 || len(to) != 2 {
		t.Error("a dry run changed something")
	}
	in.DryRun = false
	if _, err := apply(t, to, in); err != nil || to["crm"].Rate != 3 || to["crm"].Headers["X-Api-Token"] != "changed" || len(to) != 1 {
		t.Errorf("%v: %+v", err, to)
	}
}

func TestApplyRejectsBadDocuments(t *testing.T) {
	t.Parallel()
	for want, doc := range map[string]string{
		"version: 0 is not known":                  `{"destinations":{}}`,
		"destinations.crm: ":                       `{"version":1,"destinations":{"crm":{"url":"nowhere"}}}`,
		`unknown field "evnts"`:                    `{"version":1,"destinations":{"crm":{"url":"https://a.example.com","evnts":[]}}}`,
		"destinations.crm: not a JSON object":      `{"version":1,"destinations":{"crm":[]}}`,
		"sources: this gateway has none":           `{"version":1,"sources":{}}`,
		"it is the key of the object":              `{"version":1,"destinations":{"crm":{"name":"other","url":"https://a.example.com"}}}`,
		"managed by the configuration (gaff.yaml)": `{"version":1,"destinations":{"fixed":{"url":"https://a.example.com"}}}`,
	} {
		var in wire.ConfigurationRequest
		if err := json.Unmarshal([]byte(doc), &in.Configuration); err != nil {
			t.Fatal(err)
		}
		if _, err := apply(t, destinations{}, in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
}
