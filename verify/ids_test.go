package verify

import (
	"encoding/json"
	"testing"
)

func TestExactID(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, doc := range []string{`{"id":"b\ud83d"}`, `{"id":"b\ud83e"}`, `{"id":"b\ufffd"}`, "{\"id\":\"b\xff\"}", "{\"id\":\"b\xfe\"}"} {
		var decoded struct{ ID string }
		if err := json.Unmarshal([]byte(doc), &decoded); err != nil {
			t.Fatal(err)
		}
		seen[ExactID(decoded.ID, []byte(doc), "/id")] = true
	}
	if len(seen) != 5 {
		t.Errorf("5 ids are %d", len(seen))
	}
	if got := ExactID("plain", []byte(`{"id":"other"}`), "/id"); got != "plain" {
		t.Errorf("an id without a replacement is %q", got)
	}
}
