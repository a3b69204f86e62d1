package fal_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/provider/fal"
	"gaff/verify"
)

// Signatures that were computed twice, by other programs, with the key of RFC 8032's first
// test.
func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	}))
	defer keys.Close()
	src, err := fal.Source(fal.Options{JWKS: verify.NewJWKS(keys.URL, verify.JWKSOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	const id = "5057fca7-2eb3-468f-b95d-cefe92b0b9d4"
	for name, c := range map[string]struct{ body, signature, eventType string }{
		"success": {
			`{"error": null, "gateway_request_id": "5057fca7-2eb3-468f-b95d-cefe92b0b9d4", "payload": {"has_nsfw_concepts": [false], "images": [{"content_type": "image/jpeg", "height": 1024, "url": "https://v3.fal.media/files/lion/example.jpeg", "width": 1024}], "prompt": "dog", "seed": 17454220438242315174, "timings": {"inference": 2.107286687077714}}, "request_id": "5057fca7-2eb3-468f-b95d-cefe92b0b9d4", "status": "OK"}`,
			"3289d6d5422c5dfb42db654423d8b38731391d1d12f674106bdd049ef3722e1e67ff2685fca75b718ad04354d8cd56217a3ba875d54113338502f3892854f609",
			fal.Completed,
		},
		"failure": {
			`{"error": "Invalid status code: 422", "gateway_request_id": "5057fca7-2eb3-468f-b95d-cefe92b0b9d4", "payload": {"detail": [{"loc": ["body", "prompt"], "msg": "field required", "type": "value_error.missing"}]}, "request_id": "5057fca7-2eb3-468f-b95d-cefe92b0b9d4", "status": "ERROR"}`,
			"f25570c60d667892bf0a5c305ed3cb9ab7dc6d32bdbff9e1588b91342344d7b0b52995b1389cd225459e6bdf8ea27ca1f1f6b29c53635e93ec1039ba5f8f9f04",
			fal.Failed,
		},
	} {
		at := time.Unix(1752019770, 0)
		make := func(change func(r *gaff.Request)) *gaff.Request {
			r := &gaff.Request{Method: http.MethodPost, Body: []byte(c.body), ReceivedAt: at, Header: http.Header{}}
			for header, value := range map[string]string{"Request-Id": id, "User-Id": "user_0123456789", "Timestamp": "1752019770", "Signature": c.signature} {
				r.Header.Set("X-Fal-Webhook-"+header, value)
			}
			if change != nil {
				change(r)
			}
			return r
		}
		r := make(nil)
		proof, err := src.Verifier.Verify(t.Context(), r)
		if err != nil || proof.Subject != "user_0123456789" {
			t.Fatalf("%s: %+v, %v", name, proof, err)
		}
		if env, err := src.Parser.Parse(r, proof); err != nil || env.Type != c.eventType || env.ID != id {
			t.Errorf("%s: %+v, %v", name, env, err)
		}
		for what, change := range map[string]func(r *gaff.Request){
			"another byte":        func(r *gaff.Request) { r.Body[10] ^= 1 },
			"encoded again":       func(r *gaff.Request) { r.Body = []byte(strings.ReplaceAll(c.body, `": `, `":`)) },
			"another user":        func(r *gaff.Request) { r.Header.Set("X-Fal-Webhook-User-Id", "user_other") },
			"another request":     func(r *gaff.Request) { r.Header.Set("X-Fal-Webhook-Request-Id", "other") },
			"another time":        func(r *gaff.Request) { r.Header.Set("X-Fal-Webhook-Timestamp", "1752019771") },
			"a plus before it":    func(r *gaff.Request) { r.Header.Set("X-Fal-Webhook-Timestamp", "+1752019770") },
			"no signature":        func(r *gaff.Request) { r.Header.Del("X-Fal-Webhook-Signature") },
			"63 bytes":            func(r *gaff.Request) { r.Header.Set("X-Fal-Webhook-Signature", c.signature[2:]) },
			"301 seconds later":   func(r *gaff.Request) { r.ReceivedAt = at.Add(301 * time.Second) },
			"301 seconds before":  func(r *gaff.Request) { r.ReceivedAt = at.Add(-301 * time.Second) },
			"the header is twice": func(r *gaff.Request) { r.Header.Add("X-Fal-Webhook-User-Id", "user_other") },
		} {
			if _, err := src.Verifier.Verify(t.Context(), make(change)); err == nil {
				t.Errorf("%s, %s: accepted", name, what)
			}
		}
		if _, err := src.Verifier.Verify(t.Context(), make(func(r *gaff.Request) { r.ReceivedAt = at.Add(300 * time.Second) })); err != nil {
			t.Errorf("%s, 300 seconds later: %v", name, err)
		}
	}
}
