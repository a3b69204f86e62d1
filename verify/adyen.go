package verify

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
	"gaff/internal/payload"
)

// adyen signs each item of a batch; the signature is a member of the item.
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

func newAdyen(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	v := &adyen{secrets: newSecretKeys(o, KeyFormat{Decode: "hex"}, mustAlgorithm("hmac-sha256"), f)}
	v.list.must("/notificationItems")
	for _, field := range adyenFields {
		v.item.must("/NotificationRequestItem" + field)
	}
	return v
}

func (v *adyen) describe() string {
	return "base64 HMAC-SHA256 of each item's fields in its additionalData.hmacSignature"
}

func (v *adyen) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "adyen"}
	found, err := v.list.find(r.Text())
	if err != nil {
		return out, fmt.Errorf("body: %w: %w", ErrMalformed, err)
	}
	var items []json.RawMessage
	if len(found[0]) == 0 || found[0][0] != '[' || json.Unmarshal(found[0], &items) != nil || len(items) == 0 {
		return out, fmt.Errorf("body: %w: notificationItems is not a list with items", ErrMalformed)
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
	found, err := v.list.find(r.Text())
	if err != nil {
		return err
	}
	var items []json.RawMessage
	if json.Unmarshal(found[0], &items) != nil || len(items) == 0 {
		// Other bodies get an item to sign.
		if r.Body, err = payload.SetJSON(r.Body, "/notificationItems", []any{map[string]any{"NotificationRequestItem": map[string]any{
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
		if r.Body, err = payload.SetJSON(r.Body, pointer, sig); err != nil {
			return err
		}
	}
	return nil
}
