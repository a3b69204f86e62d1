package verify_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/verify"
)

func ExampleNew() {
	scheme, _ := verify.Preset("github")
	v, err := verify.New(scheme, verify.Options{Secrets: []string{"new secret", "old secret"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Describe())

	r := &gaff.Request{Body: []byte(`{"action":"opened"}`), ReceivedAt: time.Now()}
	if err := v.Sign(r, r.ReceivedAt); err != nil {
		fmt.Println(err)
		return
	}
	_, err = v.Verify(context.Background(), r)
	fmt.Println("as signed:", err)
	r.Body = []byte(`{"action":"closed"}`)
	_, err = v.Verify(context.Background(), r)
	fmt.Println("changed, mismatch:", errors.Is(err, verify.ErrMismatch))
	// Output:
	// hex HMAC-SHA256 of the body in X-Hub-Signature-256 after sha256=
	// as signed: <nil>
	// changed, mismatch: true
}

func ExampleNew_faults() {
	_, err := verify.New(verify.Scheme{
		Kind: "signature", Algorithm: "hmac-sha256", Signed: "{boddy}", Encoding: "hex",
		Signature: verify.Signatures{{Location: verify.Location{In: "header", Name: "X-Sig"}, Format: "prefixed"}},
	}, verify.Options{})
	fmt.Println(err)
	// Output:
	// signed: {boddy} is not known; {body}, {ts}, {id}, {url}, {url_unescaped}, {method}, {key}, {nl}, {body_sha256_hex} (also sha384, sha512, _base64, _base64url), {header:Name}, {json:/pointer}, {form:name}, {query:name}, {form_sorted} and {config:name} are
	// signature.prefix: missing; format prefixed needs it, such as sha256=
	// secrets: missing; the secret that the sender signs with is wanted
}

// The application's verifyWebhookSignature and generateWebhookSignature.
func ExampleVerifyWebhookSignature() {
	payload := []byte(`{"request_id":"r-1"}`)
	signature := verify.GenerateWebhookSignature(payload, "a secret")
	fmt.Println(signature)
	fmt.Println(verify.VerifyWebhookSignature(payload, signature, "a secret"))
	fmt.Println(verify.VerifyWebhookSignature(payload, signature[:10], "a secret")) // no panic: refused
	fmt.Println(verify.VerifyWebhookSignature(payload, signature, "another"))
	// Output:
	// 79803bced856880ed57af4937c46d2591d553dbe17735e29c63599ccd090321f
	// true
	// false
	// false
}

// The application's validateWebhookTimestamp.
func ExampleValidateWebhookTimestamp() {
	now := time.Unix(1767225600, 0)
	fmt.Println(verify.ValidateWebhookTimestamp("1767225300", now, 5*time.Minute))
	fmt.Println(verify.ValidateWebhookTimestamp("1767225299", now, 5*time.Minute))
	fmt.Println(verify.ValidateWebhookTimestamp("soon", now, 5*time.Minute))
	// Output:
	// true
	// false
	// false
}
