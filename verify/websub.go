package verify

import (
	"context"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
)

// websub is signed with the method that the signature names, one of those that the specification
// allows.
type websub struct {
	methods []*signature
}

func (v *websub) covers() Coverage { return v.methods[0].covers() }

func (v *websub) hashSigned() {
	for _, m := range v.methods {
		m.hashSigned()
	}
}

func (v *websub) describe() string {
	return "hex HMAC of the body in " + websubHeader + ", by the method that it names: sha256, sha1, sha384 or sha512"
}

func (v *websub) verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	text, err := headerText(r.Header, websubHeader, websubHeader)
	if err != nil {
		return gaff.Verification{}, err
	}
	for _, m := range v.methods {
		if strings.HasPrefix(text, m.places[0].Prefix) {
			return m.verify(ctx, r)
		}
	}
	return v.methods[0].verify(ctx, r)
}

func (v *websub) sign(r *gaff.Request, at time.Time) error { return v.methods[0].sign(r, at) }

const websubHeader = "X-Hub-Signature"

func newWebSub(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	v := &websub{}
	for i, method := range []string{"sha256", "sha1", "sha384", "sha512"} {
		told := f
		if i > 0 { // with the same faults
			told = &fault.List{}
		}
		v.methods = append(v.methods, newSignature(Scheme{
			Kind: "signature", Algorithm: "hmac-" + method, Key: s.Key, Signed: "{body}", Encoding: "hex",
			Signature: Signatures{{Location: Location{In: "header", Name: websubHeader}, Format: "prefixed", Prefix: method + "="}},
		}, o, told))
	}
	return v
}
