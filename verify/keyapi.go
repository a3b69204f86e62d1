package verify

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"gaff/internal/fault"
)

// keyID matches the key ids that gaff fetches. They come from requests.
var keyID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// newKeyAPI returns a cache that fetches keys one by one by their ids, as Plaid does, with API
// credentials: the setting client_id and a secret that is not a JWKS document, which it removes from
// o. It returns nil without such a secret.
func newKeyAPI(o *Options, format KeyFormat, fits func(crypto.PublicKey) bool, f *fault.List) *fetchCache[publicKey] {
	var documents []string
	secret := ""
	for i, text := range o.Secrets {
		switch {
		case strings.HasPrefix(text, "{"):
			documents = append(documents, text)
		case secret != "":
			f.Add(fmt.Sprintf("secrets[%d]", i), "a second API secret; one is wanted")
		default:
			secret = text
		}
	}
	if secret == "" {
		return nil
	}
	o.Secrets = documents
	client, address, id := o.Client, format.DefaultURL, o.Settings["client_id"]
	if text := o.Settings["jwks_url"]; text != "" {
		address = text
	}
	if id == "" {
		f.Add("settings.client_id", "missing; the sender's keys are fetched with the client id here and the API secret under secrets")
	}
	if address == "" {
		f.Add("settings.jwks_url", "missing; the address that hands out the sender's keys is wanted")
	}
	return newFetchCache("public key", func(ctx context.Context, kid string) (publicKey, error) {
		ask, err := json.Marshal(map[string]string{"client_id": id, "secret": secret, "key_id": kid})
		if err != nil {
			return publicKey{}, err
		}
		return askKey(ctx, client, address, ask, kid, fits)
	})
}

// askKey requests one key.
func askKey(ctx context.Context, client *http.Client, address string, ask []byte, kid string, fits func(crypto.PublicKey) bool) (publicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(ask))
	if err != nil {
		return publicKey{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the request has a secret
	res, err := c.Do(req)
	if err != nil {
		return publicKey{}, err
	}
	defer res.Body.Close()
	doc, err := io.ReadAll(io.LimitReader(res.Body, remoteMaxBytes))
	if err != nil {
		return publicKey{}, err
	}
	var answer struct {
		Key  json.RawMessage `json:"key"`
		Code string          `json:"error_code"`
	}
	var life struct {
		ExpiredAt *float64 `json:"expired_at"`
	}
	err = json.Unmarshal(doc, &answer)
	switch {
	case res.StatusCode == http.StatusBadRequest && answer.Code == "INVALID_WEBHOOK_VERIFICATION_KEY_ID":
		return publicKey{}, errUnknown
	case res.StatusCode != http.StatusOK:
		return publicKey{}, fmt.Errorf("the host answered %s %s", res.Status, Printable(answer.Code))
	case err != nil:
		return publicKey{}, err
	}
	if err := json.Unmarshal(answer.Key, &life); err != nil {
		return publicKey{}, err
	}
	key, err := parseJWK(answer.Key)
	switch {
	case err != nil:
		return publicKey{}, err
	case life.ExpiredAt != nil || key.kid != kid || !fits(key.key):
		return publicKey{}, errUnknown
	}
	return key, nil
}
