package verify

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"gaff"
	"gaff/internal/fault"
	"gaff/internal/fuzzseed"
)

func TestSignatureCap(t *testing.T) {
	t.Parallel()
	v := preset(t, "stripe", Options{Secrets: []string{"x"}})
	r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon, Header: http.Header{}}
	r.Header.Set("Stripe-Signature", "t=1767225600"+strings.Repeat(",v1=00", maxSignatures+1))
	if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrAmbiguous) {
		t.Error(err)
	}
}

func FuzzSignatureText(f *testing.F) {
	f.Add("t=1,v1=aa, v1=bb", "stripe")
	f.Add("v1,aa v1a,bb", "openai")
	f.Add("1,aa,bb", "recurly")
	f.Add("1/SHA256/aa", "worldpay")
	f.Add("sha256=aa", "github")
	var verifiers = map[string]*signature{}
	for _, name := range []string{"stripe", "openai", "recurly", "worldpay", "github", "knock", "persona"} {
		s, _ := Preset(name)
		v, err := New(s, options(f, s))
		if err != nil {
			f.Fatal(err)
		}
		verifiers[name] = v.check.(*signature)
		for _, text := range fuzzseed.Vary("t=1,v1=aa, v1=bb", "v1,aa v1a,bb", "1,aa,bb", "1/SHA256/aa", "sha256=aa") {
			f.Add(text, name)
		}
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		v := verifiers[name]
		if v == nil {
			return
		}
		sigs := signatureTexts{most: 20}
		if err := v.places[0].read(text, v.timeKey, &sigs); err == nil && len(sigs.list) == 0 {
			t.Errorf("%q: neither signatures nor an error", text)
		}
		if len(sigs.list) > 21 {
			t.Errorf("%d signatures", len(sigs.list))
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add("{ts}.{body}")
	f.Add("{header:X-A}{nl}{json:/a/b}{config:url}")
	for _, text := range fuzzseed.Vary("{ts}.{body}", "{header:X-A}{nl}{json:/a/b}{config:url}") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var set pointers
		var faults fault.List
		tmpl := parseTemplate(text, "signed", map[string]string{"url": "u"}, &set, &faults)
		if len(faults) > 0 {
			return
		}
		r := &gaff.Request{Body: []byte(`a=1`), Header: http.Header{}}
		var w bufWriter
		_ = tmpl.write(&content{r: r, values: make([][]byte, len(set.list))}, nil, &w)
		if !strings.Contains(text, "{") && string(w.b) != text {
			t.Errorf("%q became %q", text, w.b)
		}
	})
}

func TestHexOfTheOtherCase(t *testing.T) {
	t.Parallel()
	v, err := New(hmacScheme("{body}", ""), Options{Secrets: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	r := &gaff.Request{Body: []byte(`{}`), Header: http.Header{"X-Sig": {strings.ToUpper(GenerateWebhookSignature([]byte(`{}`), "s"))}}}
	if _, err := v.Verify(t.Context(), r); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "encoding: hex-upper") {
		t.Errorf("%v", err)
	}
}

func TestKeyIDTellsKeysApart(t *testing.T) {
	t.Parallel()
	var ids []string
	for _, secret := range []string{"first", "second"} {
		r := &gaff.Request{Body: []byte(`{}`), ReceivedAt: noon}
		if err := preset(t, "github", Options{Secrets: []string{secret}}).Sign(r, noon); err != nil {
			t.Fatal(err)
		}
		got, err := preset(t, "github", Options{Secrets: []string{"first", "second"}}).Verify(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, got.KeyID)
	}
	if ids[0] == ids[1] || len(ids[0]) != 8 {
		t.Errorf("key ids %q", ids)
	}
}
