package app

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/sender"
	"gaff/verify"
)

// A sample of a source has id, type and job where its pointers say, so that its events have their type,
// also if the body is a form, or the description has places of its own.
func TestSampleFollowsThePointersOfTheSource(t *testing.T) {
	t.Parallel()
	scheme := verify.Scheme{
		Kind: "signature", Algorithm: "hmac-sha256", Encoding: "hex", Signed: "{body}",
		Signature: verify.Signatures{{Location: verify.Location{In: "header", Name: "X-Sig"}}},
	}
	form := sender.Description{Scheme: scheme}
	form.Content = "form"
	own := sender.Description{Scheme: scheme, EventType: &verify.Location{In: "json", Pointer: "/kind"}}
	own.ID = &verify.Location{In: "json", Pointer: "/key"}
	for name, set := range map[string]config.Source{
		"pointers":          {Verify: &sender.Description{Scheme: scheme}, Type: "/event", ID: "/meta/uid", Job: "/render/job"},
		"a form":            {Verify: &form, Type: "/event", ID: "/uid", Job: "/job"},
		"places of its own": {Verify: &own, Type: "/event", ID: "/uid", Job: "/job"},
		"a preset":          {Preset: "cloudevents", Type: "/event", ID: "/uid", Job: "/job"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config.Default()
			set.Secrets = []config.Secret{"a secret that is long enough for tests"}
			cfg.Sources = map[string]config.Source{"farm": set}
			all, err := Sources(cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			src := all[slices.IndexFunc(all, func(s Source) bool { return s.Name == "farm" })]
			body, err := src.Sample("scene.rendered")
			if err != nil {
				t.Fatal(err)
			}
			r := &gaff.Request{Method: http.MethodPost, URL: "https://hooks.example.com/api/v1/webhooks/farm", Header: src.SampleHeader("scene.rendered"), Body: body}
			if err := src.Sign(r, time.Now(), ""); err != nil {
				t.Fatal(err)
			}
			verified, err := src.Verifier.Verify(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			e, err := src.Parser.Parse(r, verified)
			if err != nil || e.Type != "scene.rendered" || e.ID == "" || e.CorrelationID != e.ID {
				t.Errorf("%s: %+v, %v", body, e, err)
			}
		})
	}
}
